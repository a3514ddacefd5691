"""The sliced Epps–Pulley distance: characteristic functions of projections, compared at fixed points. Linear in the number of samples.

As the regulariser SIGReg it holds codes to N(0, I) in joint-embedding training (Balestriero and LeCun 2025); the test on a line is that of
Epps and Pulley (1983). With the empirical characteristic function `φ_x(t) = mean_i exp(i t θ·x_i)` the divergence is

    E_θ ∫ |φ_x(t) − φ_y(t)|² N(t; 0, 1) dt,

the mean over lines of the squared MMD with the kernel `exp(−s²/2)`, terms i = j included, without its n² pairs.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.errors import ConfigError
from owae.interfaces import Shape
from owae.tensor_checks import at_least
from owae_transport.lines import directions, flatten_and_centre
from owae_transport.normal import Against, ClosedAgainstNormal


class SigReg(ClosedAgainstNormal):
    """Mean over random lines of the squared difference of characteristic functions, weighted by N(0, 1); no root.

    Between 0, for equal clouds, and 2, so clouds very far apart hardly pull at each other. Under equal distributions it is above 0 by
    the terms i = j, about `1/n`. Time and memory are n × projections × knots. A published loss multiplies it by n; this one does not.

    The integral is a trapezoidal sum over [0, reach], by symmetry. On a line, points further apart than `2π · knots / reach` wrap
    around, so codes that start far out need more knots.

    Args:
        projections: The number of lines, drawn anew at each call; orthogonal in blocks of d.
        knots: The number of steps of the sum.
        reach: Where the sum ends; beyond it the weight of N(0, 1) is left out.
        prior: What stands for the standard normal prior: "expected", the mean over as many draws as there are samples; "population",
            its characteristic function `exp(−t²/2)`. They differ by a constant.
    """

    name = "sigreg"

    def __init__(
        self,
        *,
        projections: Annotated[int, Field(ge=1)] = 128,
        knots: Annotated[int, Field(ge=4)] = 16,
        reach: Annotated[float, Field(gt=0)] = 4.0,
        prior: Against = "expected",
    ) -> None:
        super().__init__(prior)
        at_least(1, projections=projections)
        at_least(4, knots=knots)
        if not 0 < reach < math.inf:
            raise ConfigError(f"reach is {reach}; it is in standard deviations of the weight, above 0 and finite")
        self.projections, self.knots, self.reach = projections, knots, reach

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        x, y = flatten_and_centre(x, y)
        lines = directions(x.shape[1], self.projections, x)
        at, weight = self._knots(x)
        (cos_x, sin_x), (cos_y, sin_y) = (_characteristic(z @ lines, at) for z in (x, y))
        return (weight @ ((cos_x - cos_y).square() + (sin_x - sin_y).square())).mean()

    def to_normal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        at, weight = self._knots(x)
        cosine, sine = _characteristic(x @ directions(x.shape[1], self.projections, x), at)
        normal = (-at.square() / 2).exp()
        value = (weight @ ((cosine - normal[:, None]).square() + sine.square())).mean()
        if self.prior == "expected":  # E |φ_y|² of n draws exceeds |φ|² by (1 − |φ|²)/n
            value = value + (weight @ (1 - normal.square())) / len(x)
        return value

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "estimator": "mean over random orthogonal directions of the Epps-Pulley distance (terms i = j included)",
            "root": "no",
            "projections": self.projections,
            "knots": self.knots,
            "reach": self.reach,
            "prior": f"standard normal: {self.prior}, in closed form; else draws",
        }

    def _knots(self, like: Tensor) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Points on [0, reach] and their weights, both halves of the line counted."""
        step = self.reach / self.knots
        at = torch.arange(self.knots + 1, device=like.device, dtype=like.dtype) * step
        weight = 2 * step / math.sqrt(2 * math.pi) * (-at.square() / 2).exp()
        ends = torch.ones_like(at)
        ends[0] = ends[-1] = 0.5
        return at, weight * ends


def _characteristic(x: Float[Tensor, "n p"], at: Float[Tensor, " k"]) -> tuple[Float[Tensor, "k p"], Float[Tensor, "k p"]]:
    """Real and imaginary part of each column's empirical characteristic function at the knots."""
    phase = x[:, None, :] * at[:, None]
    return phase.cos().mean(0), phase.sin().mean(0)
