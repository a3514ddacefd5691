"""A stack's bottom level on the logits of the data (Dinh et al., 2017, Section 4.1): what it takes and gives stays data.

With x mapped onto [0, 1] the level sees `v = logit(a + (1 − 2a) x)`. The map is part of the layer, so that samples, reconstructions and
whatever is measured on them are in the range of the data.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from owae.distributions import Dirac, Distribution
from owae.interfaces import Cost, LatentLayer

# Nodes and weights of Gauss–Hermite quadrature for a standard normal, exact for polynomials up to degree 9.
_NODES = (-2.8569700138728056, -1.355626179974266, 0.0, 1.355626179974266, 2.8569700138728056)
_WEIGHTS = (0.011257411327720691, 0.22207592200561263, 0.5333333333333333, 0.22207592200561263, 0.011257411327720691)


class Logits(LatentLayer):
    """A layer of logits as a layer of data.

    Args:
        layer: The layer, of an unbounded output; taken over, not copied.
        alpha: How far the data are kept from 0 and 1, at which logits are infinite.
    """

    name = "logits"
    range: Tensor

    def __init__(self, layer: LatentLayer, alpha: float, /) -> None:
        super().__init__()
        self.layer, self.alpha = layer, alpha
        self.in_shape, self.latent_shape = tuple(layer.in_shape), tuple(layer.latent_shape)
        self.draws_data = layer.draws_data
        self.register_buffer("range", torch.tensor([0.0, 1.0]))

    def set_range(self, value_range: tuple[float, float]) -> None:
        """Sets the range of the data, [0, 1] before."""
        self.range.copy_(torch.tensor(value_range))

    def forward_map(self, x: Float[Tensor, "B *x"]) -> Float[Tensor, "B *x"]:
        """The logits of data; those beyond their range are as those half of `alpha` from 0 and 1 are, at most."""
        low, high = self.range
        p = self.alpha + (1 - 2 * self.alpha) * (x - low) / (high - low)
        return torch.logit(p.clamp(self.alpha / 2, 1 - self.alpha / 2))

    def inverse_map(self, v: Float[Tensor, "B *x"]) -> Float[Tensor, "B *x"]:
        """The data whose logits these are, within their range."""
        low, high = self.range
        x = (torch.sigmoid(v) - self.alpha) / (1 - 2 * self.alpha)
        # Not in training, where what is cut off would have no gradient.
        return low + (high - low) * (x if self.training else x.clamp(0, 1))

    def encode(self, x: Float[Tensor, "B *x"]) -> Distribution:
        return self.layer.encode(self.forward_map(x))

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        return OfLogits(self.layer.decode(z), self)

    def point(self, z: Float[Tensor, "B *z"]) -> Float[Tensor, "B *x"]:
        return self.inverse_map(self.layer.point(z))


class OfLogits:
    """The distribution of data whose logits have a distribution; moments by quadrature, as if its coordinates were Gaussian.

    Args:
        logits: That of the logits.
        layer: The layer that maps them.
    """

    def __init__(self, logits: Distribution, layer: Logits) -> None:
        self.logits, self._layer = logits, layer

    @property
    def shape(self) -> torch.Size:
        return self.logits.mean.shape

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        mean = self._moment(1)
        return self._moment(2, mean)

    def _moment(self, power: int, about: Tensor | None = None) -> Tensor:
        mean = self.logits.mean
        if type(self.logits) is Dirac:
            return self._layer.inverse_map(mean) if power == 1 else torch.zeros_like(mean)
        spread, total = self.logits.variance.sqrt(), torch.zeros_like(mean)
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            value = self._layer.inverse_map(mean + node * spread)
            total = total + weight * (value if about is None else value - about) ** power
        return total

    def rsample(self) -> Tensor:
        return self._layer.inverse_map(self.logits.rsample())


class OnLogits(Cost):
    """A cost between the logits of data.

    Args:
        cost: The cost.
        layer: The layer that maps data to logits.
    """

    name = "on-logits"

    def __init__(self, cost: Cost, layer: Logits, /) -> None:
        super().__init__()
        self.cost = cost
        self._layer = (layer,)  # in a tuple, for it is the level's module

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        (layer,) = self._layer
        return self.cost(layer.forward_map(x), layer.forward_map(y))

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        (layer,) = self._layer
        if isinstance(p, OfLogits):
            return self.cost.expected(layer.forward_map(x), p.logits)
        return self(x, p.rsample())
