"""Costs of counts: the Poisson deviance, and the negative binomial likelihood with dispersions that are learnt with the stack."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from owae.errors import ConfigError
from owae.interfaces import Cost

LEAST = 1e-2  # of a rate; below it the rate goes on as an exponential, so that it stays positive for any prediction


class Poisson(Cost):
    """`Σ_d r_d − x_d log r_d`, and what makes its least value 0: half the Poisson deviance of counts x from predicted rates r, in nats.

    The prediction y is the rate where it is at least 0.01, and `0.01 · exp(y / 0.01 − 1)` below, so that a linear output will do and
    no rate is 0 or negative; at x = y the cost is 0, or below 0.004 a count where a rate is that small. Negative numbers in x have no
    meaning here.
    """

    name = "poisson"

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        rate, log_rate = rates(y)
        saturated = torch.xlogy(x.clamp_min(0), x.clamp_min(torch.finfo(x.dtype).tiny)) - x
        return (rate - x * log_rate + saturated).flatten(1).sum(1)


class NegativeBinomial(Cost):
    """The negative logarithm of the negative binomial probability of counts x at predicted means y, in nats, summed over the event.

    The variance of a count is `y + y² / θ`. The dispersion θ is a parameter of the cost and learnt with the stack: training optimises
    the parameters of costs as those of layers, and checkpoints hold them. The cost is not 0 at x = y. Means are kept positive as by
    `poisson`. Negative numbers in x have no meaning here.

    Args:
        dispersions: How many dispersions there are: 1 for all numbers of an event, or one for each.
        dispersion: What they start from.
        learn: Whether training moves them.

    Raises:
        ConfigError: Called for events of another size than `dispersions`, if that is not 1.
    """

    name = "negative-binomial"

    def __init__(
        self,
        *,
        dispersions: Annotated[int, Field(ge=1)] = 1,
        dispersion: Annotated[float, Field(gt=0)] = 1.0,
        learn: bool = True,
    ) -> None:
        super().__init__()
        if dispersions < 1 or not 0 < dispersion < math.inf:
            raise ConfigError(f"found dispersions = {dispersions}, dispersion = {dispersion}; both are above 0 and finite")
        self.log_dispersions = nn.Parameter(torch.full((dispersions,), math.log(dispersion)), requires_grad=learn)

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        counts, log_mean = x.flatten(1).clamp_min(0), rates(y.flatten(1))[1]
        size = len(self.log_dispersions)
        if size not in (1, counts.shape[1]):
            raise ConfigError(f"dispersions is {size}, but an event has {counts.shape[1]} numbers; that, or 1, would work")
        log_theta = self.log_dispersions.to(x.dtype)
        theta = log_theta.exp()
        log_both = torch.logaddexp(log_theta.expand_as(log_mean), log_mean)  # log(θ + y)
        chosen = torch.lgamma(counts + theta) - torch.lgamma(theta) - torch.lgamma(counts + 1)
        return -(chosen + theta * (log_theta - log_both) + counts * (log_mean - log_both)).sum(1)


def rates(y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns predictions as positive rates, and their logarithms: continuous, with a continuous slope, and increasing."""
    below = y / LEAST - 1
    small = y < LEAST
    log_rate = torch.where(small, below + math.log(LEAST), y.clamp_min(LEAST).log())
    rate = torch.where(small, LEAST * below.clamp_max(0).exp(), y)
    return rate, log_rate
