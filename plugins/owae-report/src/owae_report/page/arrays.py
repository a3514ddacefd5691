"""Draws events that are no pictures as lines: samples beside the data, examples and what is left of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor

from owae_report.page.charts import Axis, chart, path
from owae_report.page.parts import joined

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_CELLS = 9  # of a map, along each side


def distributions(samples: Float[Tensor, "n *x"], held_out: Float[Tensor, "m *x"] | None) -> Markup:
    """Draws quantiles of every coordinate, of samples and, dashed, of held-out examples."""
    lines, classes = {}, {}
    for name, events, kind in (("samples", samples, ""), ("held out", held_out, " dashed")):
        if events is None:
            continue
        quantiles = torch.quantile(events.flatten(1).double(), torch.tensor(_QUANTILES, dtype=torch.float64), dim=0)
        for i, (share, row) in enumerate(zip(_QUANTILES, quantiles.tolist(), strict=True)):
            label = f"{name}, {share:.0%}"
            lines[label] = list(enumerate(row))
            classes[label] = f"line c{abs(i - len(_QUANTILES) // 2)}{kind}"
    drawn = chart("Quantiles of every coordinate", lines, "coord.", linear=True, classes=classes)
    return Markup('<div class="charts">{}</div>').format(drawn)


def comparisons(levels: Sequence[Float[Tensor, "n *x"]]) -> Markup:
    """Draws examples and, dashed, their reconstructions through every level, one chart an example, given bottom first."""
    charts = []
    for i in range(len(levels[0])):
        lines = {
            f"z_{level}" if level else "example": list(enumerate(events[i].flatten().tolist()))
            for level, events in enumerate(levels)
        }
        classes = {name: f"line c{k}" + (" dashed" if k else "") for k, name in enumerate(lines)}
        charts.append(chart(f"Example {i + 1}", lines, "coord.", linear=True, classes=classes))
    return Markup('<div class="charts">{}</div>').format(joined(charts))


def paths(rows: Float[Tensor, "n k *x"]) -> Markup:
    """Draws paths from example to example, one chart a pair: both ends, dashed, and what lies between them."""
    charts = []
    for i, events in enumerate(rows):
        lines = {}
        for k, event in enumerate(events):
            name = "first" if k == 0 else "second" if k == len(events) - 1 else f"step {k}"
            lines[name] = list(enumerate(event.flatten().tolist()))
        classes = {name: f"line c{k % 10}" + (" dashed" if name in ("first", "second") else "") for k, name in enumerate(lines)}
        charts.append(chart(f"Pair {i + 1}", lines, "coord.", linear=True, classes=classes))
    return Markup('<div class="charts">{}</div>').format(joined(charts))


def small_lines(values: Float[np.ndarray, "rows columns n"]) -> Markup:
    """Draws the events of a plane as small lines where they lie in it."""
    rows, columns, count = values.shape
    low, high = float(values.min()), float(values.max())
    if not low < high:
        low, high = low - 1, high + 1
    side = 100.0
    parts = []
    down, across = (_spread(cells) for cells in (rows, columns))
    wide, tall = side * columns / len(across) * 0.36, side * rows / len(down) * 0.36
    step = -(-count // 100)
    for row in down:
        for column in across:
            x, y = (column + 0.5) * side, (row + 0.5) * side
            line = list(enumerate(values[row, column, ::step].tolist()))
            x_axis, y_axis = Axis(0, max(len(line) - 1, 1), x - wide, x + wide), Axis(low, high, y + tall, y - tall)
            parts.append(Markup('<path d="{}"/>').format(path(line, x_axis, y_axis)))
    height = side * max(rows, 0.15 * columns if rows == 1 else rows)
    return Markup(
        '<svg viewBox="0 {:.0f} {:.0f} {:.0f}" fill="none" stroke="currentColor" stroke-width="{:.0f}" stroke-linecap="round" role="img" '
        'aria-label="decoded events in the plane">{}</svg>'
    ).format(0 if rows > 1 else (side - height) / 2, side * columns, height, max(1, columns // 3), joined(parts))


def _spread(cells: int) -> list[int]:
    """Returns the places of at most nine cells, with half a step at both ends."""
    count = min(cells, _CELLS)
    return [int((k + 0.5) * cells / count) for k in range(count)]
