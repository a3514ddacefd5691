"""The energy score (Gneiting and Raftery 2007), a strictly proper score of a distribution that is known by its draws."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.distributions import Distribution
from owae.interfaces import Cost
from owae.model.defaults import Euclidean


class EnergyScore(Cost):
    """`E ‖x − y‖ − ½ E ‖y − y'‖` of `y, y' ~ p`, at a point `y` the Euclidean distance.

    For `x ~ q` its mean is least at `p = q` and nowhere else, where q has a mean. A squared cost is least at any p with the mean of q
    and no variance: it makes decoders deterministic, this one makes them draw.

    Args:
        draws: How many draws of p estimate it, at least 2. The estimate is unbiased whatever their number; it may be negative.
    """

    name = "energy-score"

    def __init__(self, *, draws: Annotated[int, Field(ge=2)] = 4) -> None:
        super().__init__()
        self.draws = draws
        self._distance = Euclidean()

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        return self._distance(x, y)

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        """`mean_k ‖x − y_k‖ − ½ mean_{k ≠ l} ‖y_k − y_l‖` over some draws `y_k` of p."""
        draws = [p.rsample() for _ in range(self.draws)]
        one, other = (torch.cat(side) for side in zip(*itertools.combinations(draws, 2), strict=True))
        apart = self._distance(torch.cat(draws), x.repeat(self.draws, *[1] * (x.ndim - 1))).unflatten(0, (-1, len(x)))
        within = self._distance(one, other).unflatten(0, (-1, len(x)))
        return apart.mean(0) - within.mean(0) / 2
