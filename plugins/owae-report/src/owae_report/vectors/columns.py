"""What the columns of a table have: their spread in data and samples, what levels keep of them, how they change over a plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from owae_report.style import FAINT, INK, NEUTRAL, SMALL, TEXT
from owae_report.words import shortened

NAMED = 40  # columns that are shown by name
_TICKED = 20  # of which also the correlations are
_MAPS = 12
_LONGEST = 22  # letters of a name
_REACH = 2.5  # standard deviations at which colours end
_OTHER = "#e76300"

Rows = Float[np.ndarray, "n d"]
Drawn = tuple[float, Callable[[Any], None]]


class Columns:
    """The figures of a table.

    Args:
        data: Held-out examples, in the data's own units.
        names: Of the columns.
    """

    def __init__(self, data: Rows, names: Sequence[str]) -> None:
        self.data = data
        self.names = shortened(names, _LONGEST)
        self.mean, spread = data.mean(0), data.std(0)
        self.spread = np.where(spread > 1e-7 * np.maximum(1.0, np.abs(self.mean)), spread, 1.0)
        self.changing = spread > 1e-7 * np.maximum(1.0, np.abs(self.mean))

    def standard(self, rows: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
        """In standard deviations of the held-out examples, from their mean."""
        return (rows - self.mean) / self.spread

    @property
    def _foot(self) -> float:
        """Inches that names take below axes."""
        return 0.12 + 0.052 * max(map(len, self.names))

    def samples(self, drawn: Rows) -> Drawn:
        """Samples beside the data: quantiles of each column and correlations; of many columns their means and deviations."""
        return self._spreads(drawn) if len(self.names) <= NAMED else self._moments(drawn)

    def _spreads(self, drawn: Rows) -> Drawn:
        count = len(self.names)
        foot = self._foot if count <= _TICKED else 0.08
        height = 2.0 + self._foot + foot + 2.45

        def draw(part: Any) -> None:
            shown: Any = None
            axes = part.add_axes((0.08, 1 - 2.0 / height, 0.91, 1.75 / height))
            for rows, colour, shift, name in ((self.data, NEUTRAL, -0.17, "held-out data"), (drawn, _OTHER, 0.17, "samples")):
                q = np.quantile(self.standard(rows), (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
                at = np.arange(count) + shift
                axes.vlines(at, q[0], q[4], colors=colour, linewidth=0.8)
                axes.vlines(at, q[1], q[3], colors=colour, linewidth=2.6)
                axes.plot(at, q[2], "o", color="white", markeredgecolor=colour, markersize=2.8, markeredgewidth=0.8, label=name)
            axes.set(xlim=(-0.6, count - 0.4), ylabel="s.d. of the data")
            axes.set_title("median, middle half, and 5% to 95% of each column", size=SMALL, pad=3, loc="left")
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2, borderpad=0, handletextpad=0.1)
            self._named(axes.xaxis, 90)
            side = 2.1
            for place, (rows, name) in enumerate(((self.data, "correlations in the data"), (drawn, "in samples"))):
                left = (1.05 + place * (side + 0.6)) / 6.75
                box = part.add_axes((left, foot / height, side / 6.75, side / height))
                shown = box.imshow(_correlations(rows), cmap="RdBu_r", vmin=-1, vmax=1)
                box.set_title(name, size=SMALL, pad=3)
                if place == 0 and count <= _TICKED:
                    self._named(box.yaxis, 0)
                else:
                    box.set(yticks=[])
                if count <= _TICKED:
                    self._named(box.xaxis, 90)
                else:
                    box.set_xticks([])
            _bar(part, shown, (1.05 + 2 * side + 0.6 + 0.12) / 6.75, foot / height, side / height)

        return height, draw

    def _moments(self, drawn: Rows) -> Drawn:
        height = 3.2

        def draw(part: Any) -> None:
            for place, (name, measure) in enumerate((("mean", np.mean), ("standard deviation", np.std))):
                axes = part.add_axes((0.09 + 0.5 * place, 0.15, 0.39, 0.74))
                x, y = measure(self.data, axis=0), measure(drawn, axis=0)
                reach = [min(x.min(), y.min()), max(x.max(), y.max())]
                axes.plot(reach, reach, color=FAINT, linewidth=0.6)
                axes.scatter(x, y, s=3, c=NEUTRAL, linewidths=0, alpha=0.6)
                axes.set(xlabel=f"{name} in held-out data", ylabel=f"{name} in samples")
                axes.set_title(f"a point a column, {len(x):,} of them", size=SMALL, pad=3)

        return height, draw

    def explained(self, levels: Sequence[Rows]) -> Drawn:
        """The share of each column's variance that reconstructions through each level keep."""
        errors = [np.square(level - levels[0]).mean(0) for level in levels[1:]]
        shares = np.where(self.changing, 1 - np.array(errors) / np.maximum(levels[0].var(0), 1e-300), np.nan)[::-1]
        labels = [f"$z_{{{level}}}$" for level in range(len(shares), 0, -1)]
        if len(self.names) > NAMED:
            return self._sorted(shares, labels)
        tall, foot = 0.3 * len(shares), self._foot
        height = tall + foot + 0.3

        def draw(part: Any) -> None:
            axes = part.add_axes((0.06, foot / height, 0.83, tall / height))
            shown = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, aspect="auto")
            axes.set_yticks(range(len(labels)), labels)
            axes.set_title("share of a column's variance that is reconstructed (below 0 as 0)", size=SMALL, pad=3, loc="left")
            self._named(axes.xaxis, 90)
            _bar(part, shown, 0.91, foot / height, tall / height)

        return height, draw

    def _sorted(self, shares: Float[np.ndarray, "levels d"], labels: Sequence[str]) -> Drawn:
        def draw(part: Any) -> None:
            axes = part.add_axes((0.09, 0.17, 0.89, 0.72))
            for row, label in zip(shares, labels, strict=True):
                kept = np.sort(row[np.isfinite(row)])[::-1].clip(-1)
                axes.plot(np.linspace(0, 100, len(kept)), kept, linewidth=1.0, label=label)
            axes.axhline(0, color=FAINT, linewidth=0.5)
            axes.set(
                xlabel=f"percent of {shares.shape[1]:,} columns, the best first", ylabel="share of variance kept", xlim=(0, 100)
            )
            axes.legend(frameon=False, ncols=len(labels))
            axes.set_title("reconstructions of held-out examples; shares below −1 as −1", size=SMALL, pad=3, loc="left")

        return 2.6, draw

    def maps(self, plane: Float[np.ndarray, "rows columns d"], where: str) -> Drawn:
        """The columns that change most over a plane of the deepest latent, each as a map."""
        values = self.standard(plane)
        chosen = self._most(values.reshape(-1, values.shape[-1]), _MAPS)
        across = min(6, len(chosen))
        down = math.ceil(len(chosen) / across)
        height = down * 1.22 + 0.3

        def draw(part: Any) -> None:
            shown: Any = None
            for place, column in enumerate(chosen):
                row, at = divmod(place, across)
                box = (0.02 + at * 0.9 / across, 1 - (row + 1) * 1.22 / height + 0.02, 0.85 / across, 0.95 / height)
                axes = part.add_axes(box)
                shown = axes.imshow(
                    values[..., column], cmap="RdBu_r", vmin=-_REACH, vmax=_REACH, aspect="auto", interpolation="nearest"
                )
                axes.set(xticks=[], yticks=[])
                axes.set_title(self.names[column], size=SMALL - 1.5, pad=2, parse_math=False)
            _bar(part, shown, 0.925, 0.3, 0.5)
            part.text(0.46, 0.02, f"{where}; colours: standard deviations from the mean of the data", ha="center", size=SMALL)

        return height, draw

    def paths(self, paths: Float[np.ndarray, "n k d"]) -> Drawn:
        """Paths from example to example, a row of colours a step."""
        blocks = [(path, f"pair {place}") for place, path in enumerate(paths, start=1)]
        return self._strips(blocks, "first and last row data, between them reconstructions", (0, paths.shape[1] - 2))

    def pairs(self, found: Sequence[tuple[Rows, Rows, list[float]]]) -> Drawn:
        """Samples, then held-out examples, each above its nearest training example."""
        blocks = [
            (np.stack(both), f"{what}\n{distance:.3g}")
            for (ours, theirs, distances), what in zip(found, ("sample", "held out"), strict=True)
            for *both, distance in zip(ours, theirs, distances, strict=True)
        ]
        return self._strips(blocks, "below each row its nearest training example, and how far that is", (0,), tall=0.15)

    def _strips(self, blocks: Sequence[tuple[Rows, str]], title: str, lines: Sequence[int], tall: float = 0.085) -> Drawn:
        """Rows in blocks, as colours, with a line below some of each block's."""
        values = [self.standard(rows) for rows, _ in blocks]
        chosen = self._most(np.concatenate(values), NAMED)
        names = [self.names[place] for place in chosen]
        rows, gap = max(map(len, values)), 0.08
        height = len(values) * (tall * rows + gap) + self._foot + 0.3

        def draw(part: Any) -> None:
            axes: Any = None
            shown: Any = None
            for place, (block, (_, label)) in enumerate(zip(values, blocks, strict=True)):
                bottom = 1 - (0.25 + (place + 1) * (tall * rows + gap)) / height
                axes = part.add_axes((0.08, bottom, 0.81, tall * rows / height))
                shown = axes.imshow(
                    block[:, chosen], cmap="RdBu_r", vmin=-_REACH, vmax=_REACH, aspect="auto", interpolation="nearest"
                )
                for line in lines:
                    axes.axhline(line + 0.5, color=INK, linewidth=0.8)
                axes.set(xticks=[], yticks=[])
                axes.set_ylabel(label, size=SMALL if "\n" not in label else SMALL - 2)
                if place == 0:
                    many = "" if len(chosen) == len(self.names) else f"; the {len(chosen)} columns that change most"
                    axes.set_title(f"{title}{many}", size=SMALL, pad=3, loc="left")
            self._named(axes.xaxis, 90, names)
            _bar(part, shown, 0.91, 0.4, 0.4)

        return height, draw

    def _most(self, rows: Rows, number: int) -> list[int]:
        """The columns that vary most, in the order of the table."""
        return sorted(np.argsort(-rows.var(0), kind="stable")[:number].tolist())

    def _named(self, axis: Any, rotation: int, names: Sequence[str] | None = None) -> None:
        names = self.names if names is None else names
        axis.set_ticks(range(len(names)), names, rotation=rotation, fontsize=min(TEXT - 2, 230 / len(names)))
        for label in axis.get_ticklabels():
            label.set_parse_math(False)


def _correlations(rows: Rows) -> Float[np.ndarray, "d d"]:
    """Correlations of columns; of one that never changes 0."""
    centred = rows - rows.mean(0)
    scale = np.sqrt(np.square(centred).sum(0))
    unit = centred / np.where(scale > 0, scale, 1.0)
    return unit.T @ unit


def _bar(part: Any, shown: Any, left: float, bottom: float, height: float) -> None:
    bar = part.colorbar(shown, cax=part.add_axes((left, bottom, 0.012, height)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL - 1, length=1.5)
