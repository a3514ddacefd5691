"""Sliced Wasserstein distance and its special case on the axes."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.interfaces import Shape
from owae.tensor_checks import at_least
from owae_transport.lines import directions, flatten_and_centre, transport
from owae_transport.normal import Against, ClosedAgainstNormal, transport_to_normal

PRIOR_SIDE = {
    "expected": "standard normal: mean over as many draws, in closed form; else draws",
    "population": "standard normal: its quantiles; else draws",
}


class SlicedWasserstein(ClosedAgainstNormal):
    """`SW₂²(x, y) = E_θ W₂²(θ·x, θ·y)` over random unit vectors θ (Bonneel et al. 2015), no root.

    Clouds a vector t apart give `‖t‖²/d`. The value is at least 0, and 0 for equal clouds; under equal distributions it is above
    0 by what n points miss of their distribution. Exact in each projection, for any numbers of points.

    Against the standard normal prior no draws are made: the directions are random, the rest is in closed form.

    Args:
        projections: The number of directions, drawn anew at each call; orthogonal in blocks of d.
        prior: What stands for the standard normal prior: "expected", the mean over as many draws as there are samples (the mean
            of what draws would give); "population", the distribution itself, which is lower by the draws' own error.
    """

    name = "sliced-wasserstein"

    def __init__(self, *, projections: Annotated[int, Field(ge=1)] = 128, prior: Against = "expected") -> None:
        super().__init__(prior)
        at_least(1, projections=projections)
        self.projections = projections

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        x, y = flatten_and_centre(x, y)
        lines = directions(x.shape[1], self.projections, x)
        return transport(x @ lines, y @ lines).mean()

    def to_normal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        return transport_to_normal(x @ directions(x.shape[1], self.projections, x), self.prior).mean()

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "estimator": "mean over random orthogonal directions of the exact W2^2 of the projections",
            "root": "no",
            "projections": self.projections,
            "prior": PRIOR_SIDE[self.prior],
        }


class MarginalWasserstein(ClosedAgainstNormal):
    """The mean over the coordinates of `W₂²` between their marginals, no root; the exact `W₂²` where an event is one number.

    It sees every marginal and nothing of how they depend on each other: for use in one dimension, or beside something that does.
    Nothing in it is random but a prior that has to be drawn. Clouds a vector t apart give `‖t‖²/d`. At least 0.

    Args:
        prior: As in `SlicedWasserstein`: the standard normal prior's quantiles are "population", the mean over as many draws
            "expected".
    """

    name = "marginal-wasserstein"

    def __init__(self, *, prior: Against = "expected") -> None:
        super().__init__(prior)

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        return transport(*flatten_and_centre(x, y)).mean()

    def to_normal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        return transport_to_normal(x, self.prior).mean()

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "estimator": "mean over coordinates of the exact W2^2 of the marginals; blind to their dependence",
            "root": "no",
            "prior": PRIOR_SIDE[self.prior],
        }
