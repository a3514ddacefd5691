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
from owae_report.scatter import Panel, scatter
from owae_report.sheets import sheet
from owae_report.style import rendered, styled
from owae_report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_SAMPLES, _RECONSTRUCTIONS, _PAIRS = 64, 10, 6
_SIDE, _SIDE_OF_TWO = 20, 12


def draw(name: str, subjects: Sequence[Subject], formats: Sequence[str] = ("png",)) -> list[bytes]:
    """A figure as the bytes of files, one a format.

    Args:
        name: One of `FIGURES`.
        subjects: A run, or two to be put side by side.
        formats: Of "png" and "pdf".

    Raises:
        NotDrawableError: The figure does not exist for these runs.
        OwaeError: A run or its data cannot be used.
    """
    with styled():
        made = figure(name, subjects)
        return [rendered(made, format) for format in formats]


def figure(name: str, subjects: Sequence[Subject]) -> Figure:
    """A figure as matplotlib's, in the house style; arguments and errors as for `draw`."""
    vectors = [subject for subject in subjects if not subject.drawable]
    if name in SHEETS and vectors:
        from owae_report.vectors.drawing import vectors as drawn

        if len(vectors) < len(subjects) or min(math.prod(subject.run.shape) for subject in vectors) == 0:
            raise NotDrawableError(f"the data of {vectors[0].name} have shape {vectors[0].run.shape}, which are not images")
        with styled():
            return drawn(name, subjects)
    with styled():
        return FIGURES[name](subjects)


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


def _title(subject: Subject, subjects: Sequence[Subject]) -> str:
    """A figure of one run has its title in the caption below it."""
    return subject.title if len(subjects) > 1 else ""


def _samples(subjects: Sequence[Subject]) -> Figure:
    return sheet([samples(each.samples(each.options.number or _SAMPLES), _title(each, subjects)) for each in subjects])


def _latent_grid(subjects: Sequence[Subject]) -> Figure:
    blocks = []
    for subject in subjects:
        rows = subject.plane(subject.options.side or (_SIDE if len(subjects) == 1 else _SIDE_OF_TWO))
        depth, dimension = len(subject.shapes), math.prod(subject.shapes[-1])
        blocks.append(latent_grid(rows, depth, dimension, title=_title(subject, subjects)))
    return sheet(blocks)


def _reconstructions(subjects: Sequence[Subject]) -> Figure:
    blocks = []
    for subject in subjects:
        levels = subject.reconstructions(subject.options.number or _RECONSTRUCTIONS)
        blocks.append(layerwise(levels, _title(subject, subjects)))
    return sheet(blocks)


def _interpolations(subjects: Sequence[Subject]) -> Figure:
    blocks = []
    for subject in subjects:
        rows = subject.interpolations(subject.options.number or _PAIRS)
        last = subject.options.steps + 1
        headings = [(0, 1, "data"), (1, 1, "rec."), (last - 1, 1, "rec."), (last, 1, "data")]
        if last > 3:
            headings.append((2, last - 3, f"path in $z_{{{subject.level}}}$"))
        blocks.append(Block(rows, headings=headings, breaks=frozenset({1, last}), title=_title(subject, subjects)))
    return sheet(blocks, down=True)


def _pairs(subjects: Sequence[Subject]) -> Figure:
    blocks = []
    for subject in subjects:
        name = f"{_title(subject, subjects)}: " if len(subjects) > 1 else ""
        found = subject.nearest(subject.options.number or _RECONSTRUCTIONS)
        for what, (ours, theirs, distances) in zip(("samples", "held-out examples"), found, strict=True):
            headings = [(column, 1, f"{distance:.3g}") for column, distance in enumerate(distances)]
            blocks.append(Block([ours, theirs], headings=headings, title=f"{name}{what}, below them the nearest training examples"))
    return sheet(blocks, down=True)


def _raw(subjects: Sequence[Subject]) -> Figure:
    panels = []
    for subject in subjects:
        for level, codes in _levels(subject, subjects):
            if codes.shape[1] <= 2:
                axes = f"$z_{{{level}}}[0]$", f"$z_{{{level}}}[1]$" if codes.shape[1] == 2 else ""
                title = _title(subject, subjects)
                panels.append(Panel(raw(codes), subject.labels, title, axes=axes, plain=True, names=subject.names))
    if not panels:
        which = "no level" if len(subjects) == 1 else "neither deepest level"
        raise NotDrawableError(f"{which} has one or two dimensions, so that its codes could be drawn as they are")
    return scatter(panels, subjects[0].options.seed)


def _pca(subjects: Sequence[Subject]) -> Figure:
    return _projected(subjects, lambda subject, level: pca(subject.codes[level - 1]))


def _umap(subjects: Sequence[Subject]) -> Figure:
    def project(subject: Subject, level: int) -> Projection:
        if subject.laid_out is not None:
            return Projection(subject.laid_out[level - 1])
        codes = subject.codes[level - 1]
        logger.info("%s: laying out %d codes z_%d by UMAP", subject.name, len(codes), level)
        return umap(codes, subject.options.seed)

    return _projected(subjects, project)


def _projected(subjects: Sequence[Subject], project: Callable[[Subject, int], Projection]) -> Figure:
    panels = []
    for subject in subjects:
        for level, codes in _levels(subject, subjects):
            projection = project(subject, level)
            what = f"$z_{{{level}}}$, {codes.shape[1]}-D"
            held = "" if projection.share is None else f"{projection.share:.0%} of variance"
            if projection.share is None and not projection.points.any():
                held = "all codes alike"
            if len(subjects) == 1:
                panels.append(Panel(projection, subject.labels, what, held, names=subject.names))
            else:
                note = f"{what}, {held}" if held else what
                panels.append(Panel(projection, subject.labels, subject.title, note, plain=True, names=subject.names))
    return scatter(panels, subjects[0].options.seed)


def _levels(subject: Subject, subjects: Sequence[Subject]) -> list:
    """The levels that are shown, with their codes: all of a run alone, the deepest of each of two."""
    levels = list(enumerate(subject.codes, start=1))
    return levels if len(subjects) == 1 else levels[-1:]


Maker = Callable[[Sequence[Subject]], "Figure"]

SHEETS: dict[str, Maker] = {
    "samples": _samples,
    "latent-grid": _latent_grid,
    "reconstructions": _reconstructions,
    "interpolations": _interpolations,
    "pairs": _pairs,
}
EMBEDDINGS: dict[str, Maker] = {"embeddings-raw": _raw, "embeddings-pca": _pca, "embeddings-umap": _umap}
FIGURES = SHEETS | EMBEDDINGS
