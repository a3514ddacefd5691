"""Figures of small pictures in rows: arrays of bytes in, a figure out.

Everything stands on whole pixels of the 300 dpi PNG, and each pixel of a picture becomes a square of them, so that the PNG holds
the model's own values. A PDF gets the same array; its text stays text.

This is the one way from pictures to a file, for papers, commands and trainings alike, and matplotlib draws it: it sets labels as
mathematics, writes PDFs, gives the same bytes for the same seed, and takes less than a tenth of a second for a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from owae_report.blocks import Block
from owae_report.room import require_canvas
from owae_report.style import DPI, PAGE, PAGE_HEIGHT, SMALL, TEXT, new_figure, rendered, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Pixels of the PNG.
_TILE = 102  # a picture's longer side, about: 0.34 inches
_NARROW, _LONG = 30, 600  # the shorter side at least, about, if the longer one does not pass 2 inches for it
_BREAK = 16
_EDGE = 6
_BETWEEN = 60  # from block to block
_LINE = round(1.35 * TEXT / 72 * DPI)
_LABEL = round(2.2 * TEXT / 72 * DPI)
_WHITE = 255


def png(block: Block) -> bytes:
    """A PNG of one block, as large as it takes for each pixel of a picture to be one of the PNG's at least."""
    with styled():
        return rendered(picture_grid([block], on_page=False), "png")


def picture_grid(blocks: Sequence[Block], *, down: bool = False, on_page: bool = True) -> Figure:
    """A figure of blocks side by side, their lowest rows level, or, with `down`, one under the other.

    It is as large as its pictures want to be, within the width and height of a page. Where that makes pictures smaller than they
    are, `on_page = False` lets it be larger.

    Raises:
        ValueError: A block has no picture.
        OwaeError: Memory cannot hold its pixels.
    """
    if not blocks or not all(block.rows and block.columns for block in blocks):
        raise ValueError("there is no picture to draw; every block needs at least one")
    placed = _fitted(blocks, down, on_page)
    if down:
        width = max(each.width for each in placed)
        height = sum(each.height for each in placed) + _BETWEEN * (len(placed) - 1)
    else:
        width = sum(each.width for each in placed) + _BETWEEN * (len(placed) - 1)
        # Lowest rows level: what is above them and what is below them may differ.
        height = max(each.height - each.foot for each in placed) + max(each.foot for each in placed)
    require_canvas(height, width, sum(len(row) for block in blocks for row in block.rows))
    # A hair more, for a size in inches times the dots in an inch may fall short of the whole number.
    figure = new_figure((width + 2 * _EDGE + 0.01) / DPI, (height + 2 * _EDGE + 0.01) / DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width + 2 * _EDGE + 0.01), ylim=(height + 2 * _EDGE + 0.01, 0))
    axes.axis("off")
    left = top = _EDGE
    for each in placed:
        if down:
            each.draw(axes, left, top)
            top += each.height + _BETWEEN
        else:
            foot = max(other.foot for other in placed)
            each.draw(axes, left, _EDGE + height - foot - (each.height - each.foot))
            left += each.width + _BETWEEN
    return figure


@dataclass(frozen=True)
class _Placed:
    """A block at a size: `scale` pixels of the PNG for a pixel of its pictures."""

    block: Block
    scale: float

    @property
    def tile(self) -> tuple[int, int]:
        height, width = self.block.picture
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    @property
    def row_gap(self) -> int:
        # Rows lower than their labels are set apart.
        return max(self.block.gap, _LINE - self.tile[0]) if self.block.labels else self.block.gap

    @property
    def margin(self) -> int:
        return _LABEL if self.block.labels else _LINE if self.beside else 0

    @property
    def beside(self) -> str:
        """The text on the left, where the rows are as high as it is long."""
        return self.block.beside if _text_width(self.block.beside) <= self.inner[0] else ""

    @property
    def below(self) -> str:
        """The text under the rows, with the one on the left where that is too long."""
        return self.block.below if self.beside == self.block.beside else f"{self.block.below}, {self.block.beside} upwards"

    @property
    def head(self) -> int:
        return _LINE * (bool(self.block.title) + bool(self.block.headings))

    @property
    def foot(self) -> int:
        return _LINE if self.below else 0

    def left(self, column: int) -> int:
        """Where a column begins, from the first one's beginning."""
        wider = sum(1 for place in self.block.breaks if 0 < place <= column)
        return column * (self.tile[1] + self.block.gap) + wider * (_BREAK - self.block.gap)

    def top(self, row: int) -> int:
        return row * (self.tile[0] + self.row_gap)

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of the rows."""
        return self.top(len(self.block.rows) - 1) + self.tile[0], self.left(self.block.columns - 1) + self.tile[1]

    @property
    def height(self) -> int:
        return self.head + self.inner[0] + self.foot

    @property
    def width(self) -> int:
        return self.margin + max(self.inner[1], *map(_text_width, (self.block.title, self.below)))

    def array(self) -> UInt8[np.ndarray, "H W 4"]:
        """The rows as one picture."""
        canvas = np.full((*self.inner, 4), _WHITE, np.uint8)
        height, width = self.tile
        for row, images in enumerate(self.block.rows):
            top = self.top(row)
            for column, image in enumerate(images):
                left = self.left(column)
                canvas[top : top + height, left : left + width] = _resized(image, height, width)
        return canvas

    def draw(self, axes: Axes, left: int, top: int) -> None:
        block = self.block
        x, y = left + self.margin + (self.width - self.margin - self.inner[1]) // 2, top + self.head
        middle = x + self.inner[1] / 2
        line = top
        if block.title:
            # A name is a name, whatever signs are in it.
            axes.text(middle, line + _LINE * 0.45, block.title, ha="center", va="center", size=TEXT, parse_math=False)
            line += _LINE
        for first, count, text in block.headings:
            centre = x + (self.left(first) + self.left(first + count - 1) + self.tile[1]) / 2
            axes.text(centre, line + _LINE * 0.5, text, ha="center", va="center", size=SMALL)
        height, width = self.inner
        # Drawn a hair smaller: an edge that rounding puts past a pixel's would take in the next one.
        extent = (x + 0.001, x + width - 0.001, y + height - 0.001, y + 0.001)
        limits = axes.get_xlim(), axes.get_ylim()
        axes.imshow(self.array(), extent=extent, interpolation="none", aspect="auto")
        axes.set(xlim=limits[0], ylim=limits[1])
        for row, text in enumerate(block.labels):
            centre = y + self.top(row) + self.tile[0] / 2
            axes.text(x - 0.25 * _LABEL, centre, text, ha="right", va="center_baseline", size=TEXT)
        if self.beside:
            axes.text(x - _LINE * 0.6, y + height / 2, self.beside, ha="center", va="center", rotation=90, size=SMALL)
        if self.below:
            axes.text(middle, y + height + _LINE * 0.6, self.below, ha="center", va="center", size=SMALL)


def _fitted(blocks: Sequence[Block], down: bool, on_page: bool) -> list[_Placed]:
    """The blocks at the largest size, up to the wanted one, at which all fit a page, or else at that of their own pixels."""
    room = PAGE * DPI - 2 * _EDGE, PAGE_HEIGHT * DPI - 2 * _EDGE
    placed = [_Placed(block, _wanted(*block.picture)) for block in blocks]

    def excess() -> float:
        between = _BETWEEN * (len(placed) - 1)
        widths, heights = [each.width for each in placed], [each.height for each in placed]
        if down:
            return max(max(widths) / room[0], (sum(heights) + between) / room[1])
        return max((sum(widths) + between) / room[0], max(heights) / room[1])

    while excess() > 1:
        # The largest pictures give way first, all of one kind together; where no whole scale is left, they are made smaller than they
        # are.
        largest = max(placed, key=lambda each: max(each.tile))
        if max(largest.tile) == 1 or (not on_page and largest.scale == 1):
            break
        scale = largest.scale - 1 if largest.scale > 1 else largest.scale * 0.97
        kind = largest.block.picture
        placed = [replace(each, scale=scale) if each.block.picture == kind else each for each in placed]
    return placed


def _wanted(height: int, width: int) -> int:
    long, short = max(height, width), min(height, width)
    return max(1, round(_TILE / long), min(round(_NARROW / short), _LONG // long))


def _text_width(text: str) -> int:
    """About the pixels that a line takes; signs of mathematical setting take none."""
    return round(len(text.translate({ord(sign): None for sign in "$_{}\\"})) * 0.5 * SMALL / 72 * DPI)


def _resized(image: np.ndarray, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 4"]:
    """A picture in RGBA at a size that is a multiple of its own, or smaller."""
    drawn = Image.fromarray(image).convert("RGBA")
    smaller = height < drawn.height or width < drawn.width
    if drawn.size != (width, height):
        drawn = drawn.resize((width, height), Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST)
    return np.asarray(drawn)
