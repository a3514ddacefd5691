"""Series as small lines, each in a frame of its own, in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from owae_report.style import FAINT, NEUTRAL, PAGE, PAGE_HEIGHT, SMALL, TEXT

Line = Float[np.ndarray, " d"]
_TALLEST = 0.62  # inches of a frame
_LABEL, _EDGE, _TEXT = 0.32, 0.05, 0.2
_GAP = 0.12  # of a frame's side, between frames


@dataclass(frozen=True)
class Cells:
    """Lines in frames, all on one scale.

    Attributes:
        rows: Topmost first; a frame holds one line, or two, of which the first is the data's and drawn behind.
        labels: One a row, left of it.
        headings: Texts above columns, by their number.
        below: Under the rows, before the scale.
        behind: What the lines behind are, said after it.
    """

    rows: Sequence[Sequence[Sequence[Line]]]
    labels: Sequence[str] = ()
    headings: Mapping[int, str] = field(default_factory=dict)
    below: str = ""
    behind: str = " (grey: the data)"

    @property
    def height(self) -> float:
        """The height in inches that the figure wants."""
        return min(PAGE_HEIGHT, len(self.rows) * self._side + self._above + _TEXT + 2 * _EDGE)

    @property
    def _columns(self) -> int:
        return max(map(len, self.rows))

    @property
    def _side(self) -> float:
        return min(_TALLEST, PAGE / self._columns)

    @property
    def _above(self) -> float:
        return _TEXT if self.headings else 0.0

    def draw(self, part: Any) -> None:
        """Draws them on a figure or a part of one."""
        from matplotlib.collections import LineCollection, PatchCollection
        from matplotlib.patches import Rectangle

        left = max([_EDGE, *(_LABEL if "$" in label else 0.1 + 0.07 * len(label) for label in self.labels)])
        height = self.height
        bottom, top = (_EDGE + _TEXT) / height, 1 - (_EDGE + self._above) / height
        axes = part.add_axes((left / PAGE, bottom, 1 - (left + _EDGE) / PAGE, top - bottom))
        axes.set(xlim=(0, self._columns), ylim=(len(self.rows), 0))
        axes.axis("off")
        every = np.concatenate([line for row in self.rows for cell in row for line in cell])
        low, high = float(every.min()), float(every.max())
        reach = high - low or 1.0
        behind, front, frames = [], [], []
        inner = 1 - _GAP
        for r, row in enumerate(self.rows):
            for c, cell in enumerate(row):
                frames.append(Rectangle((c + _GAP / 2, r + _GAP / 2), inner, inner))
                for place, line in enumerate(cell):
                    x = c + _GAP / 2 + inner * np.linspace(0, 1, len(line))
                    y = r + 1 - _GAP / 2 - inner * (0.04 + 0.92 * (line - low) / reach)
                    (behind if place < len(cell) - 1 else front).append(np.column_stack([x, y]))
        axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=FAINT, linewidth=0.3))
        axes.add_collection(LineCollection(behind, colors=FAINT, linewidths=0.7))
        axes.add_collection(LineCollection(front, colors=NEUTRAL, linewidths=0.8))
        for r, text in enumerate(self.labels):
            axes.text(-0.02 * self._columns / 6, r + 0.5, text, ha="right", va="center", size=TEXT)
        for c, text in self.headings.items():
            axes.text(c + 0.5, -0.05, text, ha="center", va="bottom", size=SMALL)
        scale = f"frames reach from {low:.3g} to {high:.3g}".replace("-", "−") + (self.behind if behind else "")
        said = f"{self.below}; {scale}" if self.below else scale
        part.text(0.5, 0.3 * _TEXT / height, said, ha="center", va="bottom", size=SMALL)


def wrapped(lines: Float[np.ndarray, "n d"], columns: int) -> list[list[list[Line]]]:
    """Puts lines into rows of so many frames."""
    return [[[line] for line in lines[start : start + columns]] for start in range(0, len(lines), columns)]
