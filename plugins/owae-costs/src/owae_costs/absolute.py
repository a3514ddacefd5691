"""The l1 distance, and its expectation over a Gaussian decoder in closed form.

A prediction that minimises the mean squared error is a mean: of an edge that lies here or a pixel further, a blur. One that minimises the
mean absolute error is a median, which is an edge again. So under this cost pictures keep their contrast.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from owae.distributions import Dirac, Distribution, Gaussian
from owae.interfaces import Cost


class L1(Cost):
    """`Σ_d |x_d − y_d|`; its gradient where coordinates agree is taken as zero.

    In [0, 1] an error of ε counts ε where the squared cost counts ε², so that the sum is larger: where costs of both kinds meet in one
    stack, the weights of Eq. 14 have to make up for it.
    """

    name = "l1"

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        return (x - y).abs().flatten(1).sum(1)

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        """`Σ_d δ_d erf(δ_d / (σ_d √2)) + σ_d √(2/π) exp(−δ²_d / 2σ²_d)` with `δ = x − μ` (the mean of a folded normal).

        Coordinates of variance 0 count `|δ_d|`. Of a distribution that is neither Gaussian nor a point, one draw is taken.
        """
        if isinstance(p, Dirac):
            return self(x, p.mean)
        if not isinstance(p, Gaussian):
            return super().expected(x, p)
        noisy = p.variance > 0
        # Where there is no noise, a deviation of 1 keeps the gradient of what is not taken finite.
        deviation = torch.where(noisy, p.variance, 1.0).sqrt()
        difference = x - p.mean
        ratio = difference / (deviation * math.sqrt(2))
        folded = difference * ratio.erf() + deviation * math.sqrt(2 / math.pi) * (-ratio.square()).exp()
        return torch.where(noisy, folded, difference.abs()).flatten(1).sum(1)
