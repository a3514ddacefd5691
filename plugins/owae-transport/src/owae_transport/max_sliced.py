"""Max-sliced Wasserstein distance: the line on which two clouds differ most."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from owae.interfaces import Divergence, Shape
from owae.tensor_checks import at_least
from owae_transport.lines import coupling, directions, flatten_and_centre, transport

FIRST_ANGLE, SHRINKAGE = 0.5, 0.04  # of the steps over the sphere: the first, in radians nearly, and the last as a share of it


class MaxSliced(Divergence):
    """`max_θ W₂²(θ·x, θ·y)` over unit vectors θ (Deshpande et al. 2019), no root.

    For a fixed pairing of the points, `W₂²` along θ is `θᵀ M θ` with M the mean of the pairs' `(x − y)(x − y)ᵀ`; each step pairs
    the points along θ and moves θ over the sphere towards `M θ`, by an angle that shrinks from step to step. From several starts
    the best line ever seen is kept, so the value is a lower bound of the maximum that tightens with `starts` and `steps` (within
    1% of the best of 400 starts and 100 steps for 64 to 1000 points in 2 to 32 dimensions; 7% for 1000 points of equal
    distributions in 32). Its gradient is that along the line found (envelope theorem); with a handful of points the maximum
    stands where pairings change, and that is one of several.

    Clouds a vector t apart give `‖t‖²`. The value is at least 0, 0 for equal clouds, and under equal distributions well above 0
    in many dimensions: there the worst line of two finite samples is bad. Against a prior, it draws.

    Args:
        starts: Random lines to start from, besides that through the two means.
        steps: Steps from each.
    """

    name = "max-sliced"

    def __init__(self, *, starts: Annotated[int, Field(ge=1)] = 16, steps: Annotated[int, Field(ge=0)] = 10) -> None:
        super().__init__()
        at_least(1, starts=starts)
        at_least(0, steps=steps)
        self.starts, self.steps = starts, steps

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        x, y = flatten_and_centre(x, y)
        line = self._worst_line(x.detach(), y.detach())
        return transport(x @ line, y @ line).sum()

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "estimator": "exact W2^2 along the worst line found (a lower bound of the maximum)",
            "root": "no",
            "starts": self.starts,
            "steps": self.steps,
        }

    @torch.no_grad()
    def _worst_line(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "d 1"]:
        between_means = F.normalize(x.mean(0) - y.mean(0), dim=0)[:, None]
        lines = torch.cat([between_means, directions(x.shape[1], self.starts, x)], 1)
        plan = coupling(len(x), len(y), x)
        worst, value = lines, torch.full_like(lines[0], -1)
        for step in range(self.steps + 1):
            found, pulled = _value_and_pull(x, y, lines, plan)
            worst, value = torch.where(found > value, lines, worst), torch.maximum(found, value)
            uphill = F.normalize(pulled - found * lines, dim=0)
            lines = F.normalize(lines + FIRST_ANGLE * SHRINKAGE ** (step / max(self.steps, 1)) * uphill, dim=0)
        return worst.gather(1, value.argmax().expand(len(worst), 1))


def _value_and_pull(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], lines: Float[Tensor, "d k"], plan: tuple[Tensor, Tensor, Tensor]
) -> tuple[Float[Tensor, " k"], Float[Tensor, "d k"]]:
    """`W₂²` along each line, and `M θ`, half of its gradient with respect to the line."""
    i, j, mass = plan
    (x_sorted, x_order), (y_sorted, y_order) = (x @ lines).sort(0), (y @ lines).sort(0)
    gaps = x_sorted[i] - y_sorted[j]
    moved = mass[:, None] * gaps
    x_share = torch.zeros_like(x_sorted).scatter_add_(0, x_order[i], moved)
    y_share = torch.zeros_like(y_sorted).scatter_add_(0, y_order[j], moved)
    return (moved * gaps).sum(0), x.T @ x_share - y.T @ y_share
