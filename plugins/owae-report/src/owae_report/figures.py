"""The figures by name, of one run or of two side by side (Fig. 7)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from owae.errors import OwaeError, suggestion
from owae_report.blocks import Block, latent_grid, layerwise, samples
from owae_report.embeddings import Projection, pca, raw, umap
from owae_report.errors import NotDrawableError
from owae_report.figure_data import FigureData
from owae_report.grids import picture_grid
from owae_report.scatter import Panel, scatter
from owae_report.style import rendered, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_SAMPLES, _RECONSTRUCTIONS, _PAIRS = 64, 10, 6
_SIDE, _SIDE_OF_TWO = 20, 12


def draw(name: str, runs: Sequence[FigureData], formats: Sequence[str] = ("png",)) -> list[bytes]:
    """A figure as the bytes of files, one a format.

    Args:
        name: One of `FIGURES`.
        runs: A run, or two to be put side by side.
        formats: Of "png" and "pdf".

    Raises:
        NotDrawableError: The figure does not exist for these runs.
        OwaeError: A run or its data cannot be used.
    """
    with styled():
        made = figure(name, runs)
        return [rendered(made, format) for format in formats]


def figure(name: str, runs: Sequence[FigureData]) -> Figure:
    """A figure as matplotlib's, in the house style; arguments and errors as for `draw`."""
    vectors = [data for data in runs if not data.drawable]
    if name in GRIDS and vectors:
        from owae_report.vectors.drawing import vectors as drawn

        if len(vectors) < len(runs) or min(math.prod(data.run.shape) for data in vectors) == 0:
            raise NotDrawableError(f"the data of {vectors[0].name} have shape {vectors[0].run.shape}, which are not images")
        with styled():
            return drawn(name, runs)
    with styled():
        return FIGURES[name](runs)


def selected(only: Sequence[str]) -> list[str]:
    """The figures that names mean, in the order in which they are drawn; all, where there is none. "embeddings" means three.

    Raises:
        OwaeError: A name is unknown.

    >>> selected(["embeddings", "samples"])
    ['samples', 'embeddings-raw', 'embeddings-pca', 'embeddings-umap']
    """
    groups = {name: {name} for name in FIGURES} | {"embeddings": set(EMBEDDINGS)}
    for name in only:
        if name not in groups:
            raise OwaeError(f"no figure is called '{name}'; {suggestion(name, groups)}")
    wanted = {each for name in only for each in groups[name]} or set(FIGURES)
    return [name for name in FIGURES if name in wanted]


def _title(data: FigureData, runs: Sequence[FigureData]) -> str:
    """A figure of one run has its title in the caption below it."""
    return data.title if len(runs) > 1 else ""


def _samples(runs: Sequence[FigureData]) -> Figure:
    return picture_grid([samples(each.samples(each.options.number or _SAMPLES), _title(each, runs)) for each in runs])


def _latent_grid(runs: Sequence[FigureData]) -> Figure:
    blocks = []
    for data in runs:
        rows = data.plane(data.options.side or (_SIDE if len(runs) == 1 else _SIDE_OF_TWO))
        depth, dimension = len(data.shapes), math.prod(data.shapes[-1])
        blocks.append(latent_grid(rows, depth, dimension, title=_title(data, runs)))
    return picture_grid(blocks)


def _reconstructions(runs: Sequence[FigureData]) -> Figure:
    blocks = []
    for data in runs:
        levels = data.reconstructions(data.options.number or _RECONSTRUCTIONS)
        blocks.append(layerwise(levels, _title(data, runs)))
    return picture_grid(blocks)


def _interpolations(runs: Sequence[FigureData]) -> Figure:
    blocks = []
    for data in runs:
        rows = data.interpolations(data.options.number or _PAIRS)
        last = data.options.steps + 1
        headings = [(0, 1, "data"), (1, 1, "rec."), (last - 1, 1, "rec."), (last, 1, "data")]
        if last > 3:
            headings.append((2, last - 3, f"path in $z_{{{data.level}}}$"))
        blocks.append(Block(rows, headings=headings, breaks=frozenset({1, last}), title=_title(data, runs)))
    return picture_grid(blocks, down=True)


def _pairs(runs: Sequence[FigureData]) -> Figure:
    blocks = []
    for data in runs:
        name = f"{_title(data, runs)}: " if len(runs) > 1 else ""
        found = data.nearest(data.options.number or _RECONSTRUCTIONS)
        for what, (ours, theirs, distances) in zip(("samples", "held-out examples"), found, strict=True):
            headings = [(column, 1, f"{distance:.3g}") for column, distance in enumerate(distances)]
            blocks.append(Block([ours, theirs], headings=headings, title=f"{name}{what}, below them the nearest training examples"))
    return picture_grid(blocks, down=True)


def _raw(runs: Sequence[FigureData]) -> Figure:
    panels = []
    for data in runs:
        for level, codes in _levels(data, runs):
            if codes.shape[1] <= 2:
                axes = f"$z_{{{level}}}[0]$", f"$z_{{{level}}}[1]$" if codes.shape[1] == 2 else ""
                title = _title(data, runs)
                panels.append(Panel(raw(codes), data.labels, title, axes=axes, plain=True, names=data.names))
    if not panels:
        which = "no level" if len(runs) == 1 else "neither deepest level"
        raise NotDrawableError(f"{which} has one or two dimensions, so that its codes could be drawn as they are")
    return scatter(panels, runs[0].options.seed)


def _pca(runs: Sequence[FigureData]) -> Figure:
    return _projected(runs, lambda data, level: pca(data.codes[level - 1]))


def _umap(runs: Sequence[FigureData]) -> Figure:
    def project(data: FigureData, level: int) -> Projection:
        if data.laid_out is not None:
            return Projection(data.laid_out[level - 1])
        codes = data.codes[level - 1]
        logger.info("%s: laying out %d codes z_%d by UMAP", data.name, len(codes), level)
        return umap(codes, data.options.seed)

    return _projected(runs, project)


def _projected(runs: Sequence[FigureData], project: Callable[[FigureData, int], Projection]) -> Figure:
    panels = []
    for data in runs:
        for level, codes in _levels(data, runs):
            projection = project(data, level)
            what = f"$z_{{{level}}}$, {codes.shape[1]}-D"
            held = "" if projection.share is None else f"{projection.share:.0%} of variance"
            if projection.share is None and not projection.points.any():
                held = "all codes alike"
            if len(runs) == 1:
                panels.append(Panel(projection, data.labels, what, held, names=data.names))
            else:
                note = f"{what}, {held}" if held else what
                panels.append(Panel(projection, data.labels, data.title, note, plain=True, names=data.names))
    return scatter(panels, runs[0].options.seed)


def _levels(data: FigureData, runs: Sequence[FigureData]) -> list:
    """The levels that are shown, with their codes: all of a run alone, the deepest of each of two."""
    levels = list(enumerate(data.codes, start=1))
    return levels if len(runs) == 1 else levels[-1:]


Maker = Callable[[Sequence[FigureData]], "Figure"]

GRIDS: dict[str, Maker] = {
    "samples": _samples,
    "latent-grid": _latent_grid,
    "reconstructions": _reconstructions,
    "interpolations": _interpolations,
    "pairs": _pairs,
}
EMBEDDINGS: dict[str, Maker] = {"embeddings-raw": _raw, "embeddings-pca": _pca, "embeddings-umap": _umap}
FIGURES = GRIDS | EMBEDDINGS
