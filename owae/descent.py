"""Codes of several levels on their way down to the data, one batch a decoder.

A cost measured in data space decodes its prediction through every decoder beneath, and its target too if that is a code: of N
levels N (N + 1) / 2 decodings, or about N². Each decoder takes every code that has come down to it in one call. That is faster than
one by one, and it settles what batch norm does: in training it normalises by the mixture of inputs whose statistics it keeps for
evaluation. One by one, each kind would be normalised by statistics of its own, and in evaluation by a mixture that no kind was
trained with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from owae.distributions import Dirac, Distribution, Gaussian
from owae.interfaces import LatentLayer


class Descent:
    """Events of one level at a time, going down.

    Attributes:
        targets: By level n, its codes `z_n` (B, *z_n), as far as they have been decoded by means.
        predictions: By level n, draws of `p(z_n | z_{n+1})`, likewise.
    """

    def __init__(self) -> None:
        self.targets: dict[int, Tensor] = {}
        self.predictions: dict[int, Tensor] = {}

    def through(self, layer: LatentLayer, z: Tensor, target: int | None) -> Distribution:
        """Take everything one level down, and codes `z` of the level above `layer` with it: `p(· | z)`.

        Where `target` is a level, `z` are its codes and go on as the target of its cost.
        """
        joined = self._join(z)
        p = layer.decode(joined)
        if joined is z:
            own = p
        else:
            own, mean = first_rows(p, len(z)), p.mean
            self._split(mean[len(z) :], len(z))
        if target is not None:
            self.targets[target] = own.mean
        return own

    def to_data(self, layers: Sequence[LatentLayer]) -> None:
        """Take everything down through layers, given bottom first, by means."""
        for layer in reversed(layers if self.targets or self.predictions else ()):
            going = [*self.targets.values(), *self.predictions.values()]
            self._split(layer.decode(torch.cat(going)).mean, len(going[0]))

    def _join(self, z: Tensor) -> Tensor:
        going = [*self.targets.values(), *self.predictions.values()]
        return torch.cat([z, *going]) if going else z

    def _split(self, means: Tensor, size: int) -> None:
        """The events going down are now these, in the order in which they were joined."""
        parts = iter(means.split(size))
        for events in (self.targets, self.predictions):
            for level in events:
                events[level] = next(parts)


class _Rows:
    """The first rows of a distribution of a kind of its own."""

    def __init__(self, whole: Distribution, count: int) -> None:
        self._whole, self._count = whole, count

    @property
    def mean(self) -> Tensor:
        return self._whole.mean[: self._count]

    @property
    def variance(self) -> Tensor:
        return self._whole.variance[: self._count]

    def rsample(self) -> Tensor:
        return self._whole.rsample()[: self._count]


def first_rows(p: Distribution, count: int) -> Distribution:
    """The distribution of the first rows of a batch."""
    if type(p) is Dirac:
        return Dirac(p.mean[:count])
    if type(p) is Gaussian:
        return Gaussian(p.mean[:count], p.variance[:count])
    return _Rows(p, count)
