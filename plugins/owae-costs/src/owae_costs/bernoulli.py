"""Cross-entropy of data in [0, 1] under independent Bernoulli variables: the customary cost of binary pictures."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from owae.interfaces import Cost

LEAST = 1e-4  # below it the logarithm goes on as its tangent, so that value and gradient stay finite


class Bernoulli(Cost):
    """`−Σ_d x_d log y_d + (1 − x_d) log(1 − y_d)`, in nats, for data x and probabilities y, both in [0, 1].

    It suits the bottom level, where data are in [0, 1] and the decoder ends in a sigmoid, and costs with `space = "data"`. It is not 0
    where x equals y but the entropy of x, which no decoder changes; the least mean over y is at the mean of x. Where a probability
    falls below 1e-4 its logarithm is continued by its tangent, so a certain and wrong pixel costs 10.2 nats, and predictions that leave
    [0, 1] are pulled back. Numbers outside [0, 1] in x have no meaning here, and are not looked for at each step.
    """

    name = "bernoulli"

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        return -(x * _log(y) + (1 - x) * _log(1 - y)).flatten(1).sum(1)


def _log(p: Tensor) -> Tensor:
    """The logarithm, and below `LEAST` its tangent there."""
    return torch.where(p > LEAST, p.clamp_min(LEAST).log(), math.log(LEAST) + (p - LEAST) / LEAST)
