"""The sliced Wasserstein distance (Rabin et al. 2011; Kolouri et al. 2018) as a divergence for owae.

On a line, optimal transport joins the smallest point to the smallest and so on: `W₂²` is the mean squared difference of the sorted
points. Averaged over random directions that is a distance between distributions in any dimension, at the price of a sort.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

import owae


class SlicedWasserstein(owae.Divergence):
    """`E_θ W₂²(θ·x, θ·y)` over directions θ uniform on the sphere; fresh ones at each call.

    Args:
        projections: The number of directions.
    """

    name = "sliced-example"

    def __init__(self, *, projections: Annotated[int, Field(ge=1)] = 50) -> None:
        super().__init__()
        self.projections = projections

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = x.flatten(1), y.flatten(1)
        directions = normalize(torch.randn(x.shape[1], self.projections, dtype=x.dtype, device=x.device), dim=0)
        count = max(len(x), len(y))
        return (quantiles(x @ directions, count) - quantiles(y @ directions, count)).square().mean()

    def describe(self, shape: owae.Shape) -> dict[str, str | float | list[float]]:
        return {"divergence": self.name, "projections": self.projections, "root": "no: W₂ squared"}


def quantiles(points: Tensor, count: int) -> Tensor:
    """`count` evenly spaced quantiles of each column, (n, k) → (count, k): all the points in order where count is n."""
    middles = (2 * torch.arange(count, device=points.device) + 1) * len(points) // (2 * count)
    return points.sort(0).values[middles]


@owae.hookimpl
def owae_components() -> list[type]:
    return [SlicedWasserstein]
