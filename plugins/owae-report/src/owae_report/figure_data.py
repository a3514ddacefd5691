"""One run as the figures see it: what it is called, and its arrays, each computed once and only if a figure asks for it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from owae.data.sources import examples
from owae.errors import DataError, OwaeError, TrainingError
from owae.interfaces import DataSource
from owae.run.opened import Run
from owae_report.embeddings import encode
from owae_report.evaluation.generalisation import Generalisation
from owae_report.evaluation.whole import generalised
from owae_report.events import Draws, decode_plane, reconstructions
from owae_report.interpolate import interpolate, pairs
from owae_report.pixels import Pixels, channels, drawable, to_pixels
from owae_report.representatives import representative

logger = logging.getLogger(__name__)

_LONGEST = 40  # letters of a name, in a title


@dataclass(frozen=True)
class Options:
    """What a user can say of the figures.

    Attributes:
        seed: Decides every draw and choice.
        number: Samples, reconstructed examples and interpolated pairs; each figure's own number unless given.
        examples: Examples embedded, at most.
        split: The set that examples come from, "test" or "train".
        level: The level that paths are taken in; the deepest unless given.
        steps: Points of a path, both ends among them.
        side: Points along each side of the latent grid; the figure's own number unless given.
        channels: Those of pictures that are shown; see `owae_report.pixels.channels`.
    """

    seed: int = 0
    number: int | None = None
    examples: int = 2000
    split: str = "test"
    level: int | None = None
    steps: int = 10
    side: int | None = None
    channels: str | None = None


class FigureData:
    """A run and what is drawn of it.

    Args:
        run: The run.
        options: What the user said.

    Attributes:
        name: What it is called in titles: its folder.
        generalisation: Its nearest training examples, where they have been measured under the seed of the options.
        laid_out: The codes of every level as UMAP lays them out, (n, 2) each, where another process has done so.

    Raises:
        OwaeError: It has no level of the number that the options name.
    """

    def __init__(self, run: Run, options: Options) -> None:
        self.run, self.options = run, options
        self.generalisation: Generalisation | None = None
        self.laid_out: list[Float[np.ndarray, "n 2"]] | None = None
        folder = run.folder.absolute()
        self.name = folder.name or str(folder)
        depth = len(run.config.levels)
        if options.level is not None and not 1 <= options.level <= depth:
            raise OwaeError(f"level {options.level} was asked for; {self.name} has levels 1 to {depth}")
        self.level = options.level or depth

    @property
    def title(self) -> str:
        """The name, with its middle left out where it is long."""
        half = _LONGEST // 2
        return self.name if len(self.name) <= _LONGEST else f"{self.name[: half - 1]}…{self.name[-half:]}"

    @property
    def slug(self) -> str:
        """The name, as part of a file's."""
        return re.sub(r"[^\w.+-]+", "-", self.name).strip("-.") or "run"

    @property
    def drawable(self) -> bool:
        """Whether its data are images."""
        return drawable(self.run.shape)

    @cached_property
    def shown(self) -> tuple[int, ...] | None:
        """The channels that pictures show; None for all as they are."""
        return channels(self.run.shape, getattr(self.run, "dtype", "uint8"), self.options.channels)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of z_1 … z_N."""
        return [tuple(layer.latent_shape) for layer in self.run.model.layers]

    @cached_property
    def source(self) -> DataSource:
        """The set that examples come from.

        Raises:
            DataError: It is empty.
        """
        source = self.run.source(self.options.split)
        if not len(source):
            other = "train" if self.options.split == "test" else "test"
            raise DataError(f"the {self.options.split} set of {self.name} is empty; --split {other} takes the other")
        if len(source) < (self.options.number or 0):
            logger.warning(
                "the %s set of %s holds %d examples, fewer than the %d asked for",
                self.options.split,
                self.name,
                len(source),
                self.options.number,
            )
        return source

    @cached_property
    def drawn(self) -> Draws:
        """Ancestral samples as events."""
        return Draws(self.run.model, self.options.seed)

    def nearest(self, number: int) -> list[tuple[Pixels, Pixels, list[float]]]:
        """What `pairs` returns, as pictures."""
        return [
            (self._pixels(ours, "samples"), self._pixels(theirs, "training examples"), distances)
            for ours, theirs, distances in self.pairs(number)
        ]

    def pairs(self, number: int) -> list[tuple[Tensor, Tensor, list[float]]]:
        """Samples and their nearest training examples, then held-out examples and theirs, by numbers: the nearest pairs, and distances.

        Raises:
            DataError: There are fewer than two training examples, or no held-out one.
        """
        train, test = self.run.source("train"), self.run.source("test")
        if len(train) < 2 or not len(test):
            raise DataError(f"found {len(train)} training and {len(test)} held-out examples; pairs need two and one at least")
        if self.generalisation is None or len(self.generalisation.pairs) < min(number, self.generalisation.n):
            self.generalisation = generalised(self.drawn, train, test, number)
        found = self.generalisation
        samples = self.drawn.first(found.n)
        rows = []
        for events, chosen in ((samples, found.pairs), (test, found.pairs_held_out)):
            ours, theirs = (torch.tensor([pair[i] for pair in chosen[:number]], dtype=torch.long) for i in (0, 1))
            shown = events[ours] if isinstance(events, Tensor) else examples(events, ours)
            distances = [distance for *_, distance in chosen[:number]]
            rows.append((shown, examples(train, theirs), distances))
        return rows

    def samples(self, number: int) -> Pixels:
        """Ancestral samples."""
        return self._pixels(self.drawn.first(number), "samples")

    def plane(self, side: int) -> list[Pixels]:
        """The deepest latent on a grid, rows from above."""
        decoded = decode_plane(self.run.model, side, seed=self.options.seed)
        return [self._pixels(row, "the latent grid") for row in decoded]

    def reconstructions(self, number: int) -> list[Pixels]:
        """Examples and what is left of them through z_1 … z_N, bottom first."""
        return [self._pixels(events, f"reconstructions through z_{i}") for i, events in enumerate(self.reconstructed(number))]

    def reconstructed(self, number: int) -> list[Tensor]:
        """The same as events, (n, *x) each."""
        return [events.cpu() for events in reconstructions(self.run.model, self.examples(number))]

    def interpolations(self, number: int) -> list[Pixels]:
        """For every pair a row: the first, the path from its reconstruction to the second's, the second."""
        return [self._pixels(row, "interpolations") for row in self.paths(number)]

    def paths(self, number: int) -> Float[Tensor, "n k *x"]:
        """The same as events."""
        ends = [examples(self.source, places) for places in pairs(self.source, number, self.options.seed).unbind(1)]
        path = interpolate(self.run.model, *ends, steps=self.options.steps, level=self.level)
        return torch.cat([ends[0][:, None], path.cpu(), ends[1][:, None]], dim=1)

    def examples(self, number: int) -> Float[Tensor, "n *x"]:
        """Examples, spread over the classes where there are labels."""
        return examples(self.source, representative(number, len(self.source), self.source.labels, self.options.seed))

    @cached_property
    def _embedded(self) -> Int[Tensor, " n"]:
        return representative(self.options.examples, len(self.source), self.source.labels, self.options.seed)

    @cached_property
    def codes(self) -> list[Tensor]:
        """The encoders' means of examples at every level, bottom first, (n, d)."""
        return encode(self.run.model, self.source, self._embedded, self.name)

    @property
    def labels(self) -> Int[np.ndarray, " n"] | None:
        """The classes of the examples that `codes` are of; below 0 for an example without one."""
        return None if self.source.labels is None else self.source.labels.cpu()[self._embedded].numpy()

    @property
    def names(self) -> tuple[str, ...] | None:
        """What the classes are called, where they have names."""
        return self.source.class_names

    def _pixels(self, events: Tensor, what: str) -> Pixels:
        if not events.isfinite().all():
            raise TrainingError(
                f"{self.name}: {what} hold values that are not finite, so its training diverged; it can only be trained anew, with a "
                "lower learning rate for instance"
            )
        return to_pixels(events, self.run.value_range, self.shown)
