"""Reconstructions on their way down to the data, one batch a decoder.

A cost measured in data space needs its code decoded through every decoder beneath: in all N (N + 1) / 2 decodings of N levels. Each
decoder takes everything that has come down to it in one call. That is faster than one by one, and it settles what batch norm does:
in training it normalises by the mixture of inputs whose statistics it keeps for evaluation. One by one, each kind would be
normalised by statistics of its own, and in evaluation by a mixture that no kind was trained with.

A reconstruction serves twice: what level n makes of the data is the prediction of the cost on `z_{n−1}` and the target of the cost
on `z_n`. It must be the same draw. Where targets were decoded by means alone, decoders were seen to put all information into their
variance: draws were then good, means all alike, and the costs of all deeper levels nothing.
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
        reconstructions: By level k, from codes `z_k`: first one draw of `p(z_{k−1} | z_k)`, then the means from there to where the
            descent is; in the end `R_k` (B, *x). From `z_1` the mean alone, as at the bottom nothing is drawn.
    """

    def __init__(self) -> None:
        self.reconstructions: dict[int, Tensor] = {}

    def through(self, layer: LatentLayer, z: Tensor) -> Distribution:
        """Take everything one level down, and codes `z` of the level above `layer` with it: gives `p(· | z)`."""
        if not self.reconstructions:
            return layer.decode(z)
        p = layer.decode(torch.cat([z, *self.reconstructions.values()]))
        self._put(p.mean[len(z) :])
        return first_rows(p, len(z))

    def to_data(self, layers: Sequence[LatentLayer]) -> None:
        """Take everything down through layers, given bottom first, by means."""
        for layer in reversed(layers if self.reconstructions else ()):
            self._put(layer.decode(torch.cat(list(self.reconstructions.values()))).mean)

    def _put(self, means: Tensor) -> None:
        parts = means.chunk(len(self.reconstructions))
        self.reconstructions = dict(zip(self.reconstructions, parts, strict=True))


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
