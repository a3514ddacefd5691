"""Figures of points: one panel a level, a colour a class, and the class's name where its middle is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from owae_report.embeddings import Projection, densest
from owae_report.style import FAINT, INK, NEUTRAL, NO_CLASS, PAGE, SMALL, TEXT, colours, new_figure
from owae_report.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
_PANEL = 2.3  # at most
_GAP, _EDGE = 0.09, 0.04
_TITLE, _NOTE, _LEGEND_ROW = 0.2, 0.18, 0.17
_TICKS_LEFT, _TICKS_BELOW = 0.45, 0.34  # with the name of the axis; numbers as −0.25 stand on the left

_IN_A_ROW = 5
_NAMED, _LISTED = 20, 40  # classes named in the panels, and in the legend
_LONGEST = 24  # letters of a class's name
_LETTER = 0.07  # inches
_COVERED = 2.5  # widths of a panel that all names together may take there
_SHORT = 12  # letters up to which most names stand in the panels; longer ones would hide the points
_FEWEST = 5  # points a class from which on its name stands among them, rather than on top of them
_NONE = "no class"


@dataclass(frozen=True)
class Panel:
    """One cloud of points.

    Attributes:
        projection: The points.
        labels: Their classes, or None; below 0 where a point has none.
        title: Above it.
        note: Below it.
        axes: Names of both axes, where coordinates mean something; ticks are drawn then.
        plain: Whether the title is a name, in which no sign sets mathematics.
        names: What the classes are called; their numbers unless given.
    """

    projection: Projection
    labels: Int[np.ndarray, " n"] | None
    title: str = ""
    note: str = ""
    axes: tuple[str, str] | None = None
    plain: bool = False
    names: Sequence[str] | None = None

    def name(self, label: int) -> str:
        """What a class is called, shortened where that is long."""
        return str(label) if self.names is None or label >= len(self.names) else self._shortened[label]

    @cached_property
    def _shortened(self) -> list[str]:
        return shortened(self.names or (), _LONGEST)


def scatter(panels: Sequence[Panel], seed: int = 0) -> Figure:
    """A figure of panels, five in a row at most, with a legend of the classes of all.

    Args:
        panels: At least one.
        seed: Decides which of two points that overlap lies on top.

    Raises:
        ValueError: There is none.
    """
    if not panels:
        raise ValueError("there is no panel to draw; at least one is needed")
    rows = math.ceil(len(panels) / _IN_A_ROW)
    columns = math.ceil(len(panels) / rows)
    left_ticks, ticks = (_TICKS_LEFT, _TICKS_BELOW) if any(panel.axes for panel in panels) else (0.0, 0.0)
    note = _NOTE if any(panel.note for panel in panels) else 0.0
    title = _TITLE if any(panel.title for panel in panels) else 0.0
    across, upward = left_ticks + _GAP, title + note + ticks
    side = min(_PANEL, (PAGE - 2 * _EDGE + _GAP) / columns - across)
    found = [(int(one), panel.name(int(one))) for panel in panels if panel.labels is not None for one in np.unique(panel.labels)]
    if len(dict(found)) == len(set(found)):  # else two runs call one number otherwise, and the classes of each stay together
        found.sort()
    classes = list(dict.fromkeys(name for label, name in found if label >= 0))
    palette: dict[str, Any] = dict(zip(classes, colours(len(classes)), strict=True))
    some_without = any(label < 0 for label, _ in found) and classes
    width = 2 * _EDGE + columns * (side + across) - _GAP
    # A marker, the name and the space after it.
    listed = [*classes, _NONE] if some_without else classes
    entry = 0.19 + 0.06 * max(map(len, listed), default=1)
    in_a_row = max(1, min(len(listed), int(width / entry)))
    legend_rows = math.ceil(len(listed) / in_a_row) if 0 < len(classes) <= _LISTED else int(bool(classes))
    foot = _EDGE + _LEGEND_ROW * legend_rows
    height = _EDGE + rows * (side + upward + _GAP) - _GAP + foot
    figure = new_figure(width, height)
    # Coordinates that mean something are seen around 0 and on one scale.
    reach = 1.08 * max((float(np.abs(panel.projection.points).max()) for panel in panels if panel.axes), default=0.0)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        left = _EDGE + column * (side + across) + left_ticks
        bottom = height - _EDGE - row * (side + upward + _GAP) - title - side
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        points = _draw(axes, panel, palette, side, seed)
        if panel.axes and reach > 0:
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        many = panel.labels is not None and len(points) >= _FEWEST * len(palette)
        if many and len(palette) <= _NAMED and _short(palette, side):
            _name_classes(axes, points, panel, side)
    if len(classes) > _LISTED:
        text = f"{len(classes)} classes, {classes[0]} … {classes[-1]}, coloured in their order"
        figure.text(0.5, foot / height / 2, text, ha="center", va="center", size=SMALL, color=FAINT, parse_math=False)
    elif classes:
        _legend(figure, palette | ({_NONE: NO_CLASS} if some_without else {}), in_a_row, foot / height)
    return figure


def _draw(axes: Axes, panel: Panel, palette: dict[str, Any], side: float, seed: int) -> Float[np.ndarray, "n 2"]:
    """Draws the points of a panel and its axes, and returns where the points lie."""
    generator = np.random.default_rng(seed)
    points = panel.projection.points
    if points.shape[1] == 1:
        # A line's points are spread over a height that means nothing.
        points = np.column_stack([points[:, 0], generator.uniform(-1, 1, len(points)) * 0.25 * max(np.ptp(points), 1e-12)])
    order = generator.permutation(len(points))
    size = float(np.clip(side**2 * 1300 / len(points), 1.2, 9.0))
    colour: Any = NEUTRAL
    if panel.labels is not None and palette:
        order = order[np.argsort(panel.labels[order] >= 0, kind="stable")]  # points without a class lie below
        colour = [palette[panel.name(int(one))] if one >= 0 else NO_CLASS for one in panel.labels[order]]
    axes.scatter(points[order, 0], points[order, 1], s=size, c=colour, linewidths=0, alpha=0.75)
    axes.set_title(panel.title, pad=3, size=TEXT, parse_math=not panel.plain)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.05)
    if panel.axes is None:
        axes.set(xticks=[], yticks=[])
        if panel.note:
            axes.set_xlabel(panel.note, labelpad=3)
    else:
        axes.set_xlabel(panel.axes[0], labelpad=1)
        axes.set_ylabel(panel.axes[1], labelpad=1)
        axes.locator_params(nbins=5)
        if panel.projection.points.shape[1] == 1:
            axes.set(yticks=[])
    return points


def _short(names: Iterable[str], side: float) -> bool:
    """Tells whether names are so short and few that they leave points, and each other, to be seen in a panel."""
    lengths = sorted(map(len, names))
    return not lengths or (lengths[len(lengths) // 2] <= _SHORT and _LETTER * sum(lengths) <= _COVERED * side)


def _name_classes(axes: Axes, points: Float[np.ndarray, "n 2"], panel: Panel, side: float) -> None:
    """Names in the panel, wholly within it, so that a class is found without colours too."""
    from matplotlib.patheffects import withStroke

    labels = np.asarray(panel.labels)
    present = [int(each) for each in np.unique(labels) if each >= 0]
    axes.apply_aspect()  # which decides where points lie in the panel
    places = axes.transAxes.inverted().transform(axes.transData.transform(densest(points, labels, present)))
    margins = [min(0.5, _LETTER * len(panel.name(each)) / 2 / side) for each in present]
    places = [(float(np.clip(x, margin, 1 - margin)), float(y)) for (x, y), margin in zip(places, margins, strict=True)]
    for each, (x, y) in zip(present, _apart(places, margins, SMALL / 72 / side), strict=True):
        name = panel.name(each)
        halo = [withStroke(linewidth=1.6, foreground="white")]
        style = {"size": SMALL, "weight": "bold", "color": INK, "ha": "center", "va": "center", "parse_math": False}
        axes.text(x, y, name, path_effects=halo, transform=axes.transAxes, **style)


def _apart(places: Sequence[tuple[float, float]], halves: Sequence[float], height: float) -> list[tuple[float, float]]:
    """Moves names up and down until none lies on another, if there is room.

    Args:
        places: Of their middles.
        halves: Half their widths.
        height: Of a line.
    """
    down = [y for _, y in places]
    for _ in range(50):
        still = True
        for i, j in combinations(range(len(places)), 2):
            lack = height - abs(down[i] - down[j])
            if lack > 1e-3 * height and abs(places[i][0] - places[j][0]) < 0.8 * (halves[i] + halves[j]):
                still, sign = False, 1 if down[i] > down[j] else -1
                down[i], down[j] = down[i] + sign * lack / 2, down[j] - sign * lack / 2
        down = [min(max(y, height / 2), 1 - height / 2) for y in down]
        if still:
            break
    return [(x, y) for (x, _), y in zip(places, down, strict=True)]


def _legend(figure: Figure, palette: dict[str, Any], in_a_row: int, foot: float) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, marker="o", markersize=4, linestyle="") for colour in palette.values()]
    names = list(palette)
    # Legends are filled column by column, and read row by row.
    by_column = [place for column in range(in_a_row) for place in range(column, len(names), in_a_row)]
    legend = figure.legend(
        [handles[place] for place in by_column],
        [names[place] for place in by_column],
        loc="center",
        bbox_to_anchor=(0.5, foot / 2),
        ncols=in_a_row,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.1,
        handlelength=1.0,
        columnspacing=0.7,
        labelspacing=0.25,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have a dollar in it
