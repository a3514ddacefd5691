"""The figures of a run whose examples are no pictures: series as small lines, tables by their columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from owae.errors import TrainingError
from owae_report.events import decode_plane, draw_samples
from owae_report.figure_data import FigureData
from owae_report.style import PAGE, PAGE_HEIGHT, TEXT, new_figure
from owae_report.vectors import cells, columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALIKE = 0.7  # correlation of neighbouring numbers from which examples are taken for series
_SHORTEST = 16  # numbers of a series
_LOOKED_AT = 500
_SAMPLES, _OF_A_TABLE, _EXAMPLES, _PAIRS, _SIDE, _MAP = 32, 1000, 6, 6, 9, 25

Rows = Float[np.ndarray, "n d"]
Drawn = tuple[float, Callable[[Any], None]]  # the height in inches, and what draws on a figure's part


def vectors(name: str, runs: Sequence[FigureData]) -> Figure:
    """Draws a figure by its name; of two runs one under the other.

    Raises:
        TrainingError: What is drawn is not finite.
    """
    drawn = [(_series if is_series(_held_out(each, _LOOKED_AT)) else _table)(name, each) for each in runs]
    title = 1.5 * TEXT / 72 if len(runs) > 1 else 0.0
    heights = [height + title for height, _ in drawn]
    figure = new_figure(PAGE, min(sum(heights), PAGE_HEIGHT))
    parts = figure.subfigures(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
    for data, part, (_, draw) in zip(runs, parts, drawn, strict=True):
        if title:
            part.suptitle(data.title, size=TEXT, parse_math=False, va="top", y=1.0)
        draw(part)
    return figure


def is_series(rows: Rows) -> bool:
    """Tells whether neighbouring numbers are so alike, over examples, that they follow one another in time or space.

    >>> is_series(np.random.default_rng(0).standard_normal((50, 64)).cumsum(1)), is_series(np.eye(64))
    (True, False)
    """
    if rows.shape[1] < _SHORTEST or len(rows) < 2:
        return False
    centred = rows - rows.mean(0)
    first, second = centred[:, :-1], centred[:, 1:]
    scale = math.sqrt(float(np.square(first).sum()) * float(np.square(second).sum()))
    return scale > 0 and float((first * second).sum()) / scale > ALIKE


def _series(name: str, data: FigureData) -> Drawn:
    options = data.options
    if name == "samples":
        lines = _samples(data, options.number or _SAMPLES)
        made = cells.Cells(cells.wrapped(lines, 4))
    elif name == "latent-grid":
        grid = _plane(data, options.side or _SIDE)
        made = cells.Cells([[[line] for line in row] for row in grid], below=_where(data))
    elif name == "reconstructions":
        levels = _reconstructed(data, options.number or _EXAMPLES)
        rows = [[[levels[0][i], line] if k else [line] for i, line in enumerate(level)] for k, level in enumerate(levels)]
        labels = ["$x$", *(f"$z_{{{level}}}$" for level in range(1, len(levels)))]
        made = cells.Cells(rows[::-1], labels=labels[::-1])
    elif name == "pairs":
        found = _pairs(data, options.number or _EXAMPLES)
        rows = [[[there, here] for here, there in zip(ours, theirs, strict=True)] for ours, theirs, _ in found]
        made = cells.Cells(rows, labels=["sample", "held-out"], below="grey: the nearest training example", behind="")
    else:
        paths = _flat(data, data.paths(options.number or _PAIRS), name)
        steps = paths.shape[1] - 2
        headings = {0: "data", 1: "rec.", steps: "rec.", steps + 1: "data"}
        made = cells.Cells([[[line] for line in path] for path in paths], headings=headings)
    return made.height, made.draw


def _table(name: str, data: FigureData) -> Drawn:
    options, rows = data.options, _held_out(data, _OF_A_TABLE)
    table = columns.Columns(rows, _names(data, rows.shape[1]))
    if name == "samples":
        return table.samples(_samples(data, options.number or _OF_A_TABLE))
    if name == "latent-grid":
        return table.maps(_plane(data, options.side or _MAP), _where(data))
    if name == "reconstructions":
        return table.explained(_reconstructed(data, options.number or _OF_A_TABLE))
    if name == "pairs":
        return table.pairs(_pairs(data, options.number or _PAIRS))
    return table.paths(_flat(data, data.paths(options.number or _PAIRS), name))


def _names(data: FigureData, size: int) -> list[str]:
    names = (data.source.units or {}).get("names")  # none where all numbers were scaled alike
    return list(map(str, names)) if names else [str(place) for place in range(size)]


def _where(data: FigureData) -> str:
    depth, dimension = len(data.shapes), math.prod(data.shapes[-1])
    if dimension == 1:
        return f"$z_{{{depth}}}$ from −2 to 2"
    if dimension == 2:
        return f"$z_{{{depth}}}[0]$ from −2 to 2 rightwards, $z_{{{depth}}}[1]$ from −2 to 2 upwards"
    return f"a random plane of $z_{{{depth}}}$, {dimension}-D"


def _held_out(data: FigureData, number: int) -> Rows:
    return _flat(data, data.examples(number), "the examples")


def _samples(data: FigureData, number: int) -> Rows:
    return _flat(data, draw_samples(data.run.model, number, data.options.seed), "samples")


def _plane(data: FigureData, side: int) -> Float[np.ndarray, "rows columns d"]:
    return _flat(data, decode_plane(data.run.model, side, seed=data.options.seed), "the latent grid")


def _reconstructed(data: FigureData, number: int) -> list[Rows]:
    levels = data.reconstructed(number)
    return [_flat(data, events, f"reconstructions through z_{level}") for level, events in enumerate(levels)]


def _pairs(data: FigureData, number: int) -> list[tuple[Rows, Rows, list[float]]]:
    """Samples, then held-out examples, each with its nearest training example and the distance."""
    return [
        (_flat(data, ours, "samples"), _flat(data, theirs, "training examples"), distances)
        for ours, theirs, distances in data.pairs(number)
    ]


def _flat(data: FigureData, events: Tensor, what: str) -> Float[np.ndarray, "..."]:
    """Events in the data's own units, each one row of numbers."""
    if not torch.isfinite(events).all():
        raise TrainingError(
            f"{data.name}: {what} hold values that are not finite, so its training diverged; it can only be trained anew, with a lower "
            "learning rate for instance"
        )
    size = math.prod(data.run.shape)
    return data.run.natural(events.float().cpu()).double().reshape(*events.shape[: events.ndim - len(data.run.shape)], size).numpy()
