"""A stack as a notebook shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def html_table(levels: Iterable[Any], weights: Sequence[float], matched_level: int) -> str:
    """Returns the levels as an HTML table: layer, shapes, parameters, cost, and the weight of the term on the level's code (Eq. 14)."""
    rows = [["level", "layer", "from", "to", "parameters", "cost", "weight"]]
    for i, level in enumerate(levels, start=1):
        layer = level.layer
        shapes = ["×".join(map(str, shape)) for shape in (layer.in_shape, layer.latent_shape)]
        count = sum(parameter.numel() for parameter in layer.parameters())
        weight = f"{weights[i]:.3g}" + (" (divergence)" if i == matched_level else "") if i <= matched_level else "–"
        rows.append([f"z_{i}", getattr(layer, "name", type(layer).__name__), *shapes, f"{count:,}", level.cost.name, weight])
    marked = [(row, "td" if i else "th") for i, row in enumerate(rows)]
    lines = ["".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in row) for row, tag in marked]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
