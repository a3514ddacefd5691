"""The Huber cost: squared for small errors, absolute for large ones; with its expectation over a Gaussian decoder in closed form."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from owae.distributions import Dirac, Distribution, Gaussian
from owae.errors import ConfigError
from owae.interfaces import Cost

WIDE = 100.0  # from this ratio of deviation to delta on, float32 loses the exact form's digits, and the series is exact to 1e-8


class Huber(Cost):
    """`Σ_d h(x_d − y_d)` with `h(e) = e²/2` for `|e| ≤ δ` and `δ (|e| − δ/2)` beyond (Huber 1964).

    Args:
        delta: The error at which the cost turns from squared to absolute, δ, in the data's units.
    """

    name = "huber"

    def __init__(self, *, delta: Annotated[float, Field(gt=0)] = 0.1) -> None:
        super().__init__()
        if not 0 < delta < math.inf:
            raise ConfigError(f"delta is {delta}; it is an error in the data's units, above 0 and finite")
        self.delta = delta

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        return F.huber_loss(x, y, reduction="none", delta=self.delta).flatten(1).sum(1)

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        """The integral of h against each coordinate's Gaussian, in closed form.

        Coordinates of variance 0 count `h(x_d − μ_d)`. Of a distribution that is neither Gaussian nor a point, one draw is taken.
        """
        if isinstance(p, Dirac):
            return self(x, p.mean)
        if not isinstance(p, Gaussian):
            return super().expected(x, p)
        noisy = p.variance > 0
        # What is not taken has a deviation of δ instead, so that its gradient stays finite.
        deviation = torch.where(noisy, p.variance, self.delta**2).sqrt()
        wide = deviation > WIDE * self.delta
        error = x - p.mean
        value = torch.where(wide, self._series(error, deviation), self._exact(error, torch.where(wide, self.delta, deviation)))
        plain = F.huber_loss(x, p.mean, reduction="none", delta=self.delta)
        return torch.where(noisy, value, plain).flatten(1).sum(1)

    def _exact(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """`E h(e)` for `e ~ N(mean, deviation²)`: the truncated second moment within ±δ, and the tails' first moments."""
        low, high = (-self.delta - mean) / deviation, (self.delta - mean) / deviation
        density_low, density_high = _density(low), _density(high)
        below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
        # Taken on the side where the probabilities are small: as a difference of numbers near 1 it would be rounding alone.
        within = torch.where(mean > 0, torch.special.ndtr(high) - below, torch.special.ndtr(-low) - above)
        squares = (mean.square() + deviation.square()) * within
        squares = squares + deviation.square() * (low * density_low - high * density_high)
        squares = squares + 2 * mean * deviation * (density_low - density_high)
        tails = mean * (above - below) + deviation * (density_low + density_high)
        return squares / 2 + self.delta * (tails - self.delta / 2 * (above + below))

    def _series(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """The same where δ is small beside the deviation: h is `δ (|e| − δ/2)` but within ±δ, where the density is nearly constant."""
        ratio = mean / deviation
        folded = mean * (ratio / math.sqrt(2)).erf() + 2 * deviation * _density(ratio)
        return self.delta * (folded - self.delta / 2) + _density(ratio) / deviation * self.delta**3 / 3


def _density(ratio: Tensor) -> Tensor:
    """The standard normal density; beyond ±40, where it is 0, the argument is held to keep products with it finite."""
    return (-ratio.clamp(-40, 40).square() / 2).exp() / math.sqrt(2 * math.pi)
