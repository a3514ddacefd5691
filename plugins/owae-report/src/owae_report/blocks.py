"""What the figures of pictures show: rows of pictures and what is written around them. `owae_report.grids` draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from owae_report.pixels import Pixels

_GAP, _GRID_GAP = 4, 3  # pixels of the PNG


@dataclass(frozen=True)
class Block:
    """Rows of pictures of one size, topmost first, with what is written around them.

    Attributes:
        rows: The pictures, each (n, H, W) or (n, H, W, C) bytes; the last row may be shorter.
        labels: One a row, left of it.
        headings: Texts above spans of columns: (first column, columns, text).
        breaks: Columns before which the gap is wider.
        title: Above everything, as it is.
        below: Under the rows.
        beside: Left of the rows, upwards.
        gap: Pixels of the PNG from picture to picture.
    """

    rows: Sequence[Pixels]
    labels: Sequence[str] = ()
    headings: Sequence[tuple[int, int, str]] = ()
    breaks: frozenset[int] = frozenset()
    title: str = ""
    below: str = ""
    beside: str = ""
    gap: int = _GAP

    @property
    def columns(self) -> int:
        """Pictures in the longest row."""
        return max(len(row) for row in self.rows)

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width of a picture."""
        return self.rows[0].shape[1], self.rows[0].shape[2]


def square_rows(images: Pixels) -> list[Pixels]:
    """Pictures in rows, so that the whole is about square and, if one near that is, full."""
    count, height, width = images.shape[:3]

    def badness(columns: int) -> tuple[float, int]:
        rows = math.ceil(count / columns)
        return round(abs(math.log(columns * width / (rows * height))) + 2 * (rows * columns - count) / count, 6), -columns

    columns = min(range(1, count + 1), key=badness)
    return [images[start : start + columns] for start in range(0, count, columns)]


def samples(images: Pixels, title: str = "") -> Block:
    """Samples of a model (Fig. 2a)."""
    return Block(square_rows(images), title=title)


def latent_grid(rows: Sequence[Pixels], level: int, dimension: int, extent: float = 2.0, title: str = "") -> Block:
    """The deepest latent on an even grid, decoded (Fig. 2b).

    Args:
        rows: The pictures, topmost row first; see `owae_report.events.latent_plane` for what lies where.
        level: The number of the deepest level.
        dimension: Of its events.
        extent: How far the grid reaches each way.
        title: Above it.
    """
    beside = ""
    if dimension == 1:
        below = f"$z_{{{level}}}$ from −{extent:g} to {extent:g}"
    elif dimension == 2:
        below, beside = (f"$z_{{{level}}}[{axis}]$ from −{extent:g} to {extent:g}" for axis in (0, 1))
    else:
        below = f"a random plane of $z_{{{level}}}$, {dimension}-D"
    return Block(rows, title=title, below=below, beside=beside, gap=_GRID_GAP)


def layerwise(levels: Sequence[Pixels], title: str = "") -> Block:
    """Examples and their reconstructions through `z_1 … z_N`, given bottom first: data in the bottom row, the deepest on top (Fig. 3b)."""
    labels = ["$x$", *(f"$z_{{{level}}}$" for level in range(1, len(levels)))]
    return Block(levels[::-1], labels=labels[::-1], title=title)
