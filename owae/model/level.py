"""One level of a stack: its conditionals, and what is asked of them."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from owae.errors import ConfigError
from owae.interfaces import Cost, LatentLayer, Regulariser
from owae.model.defaults import SquaredEuclidean

CostSpace = Literal["latent", "data"]
CostTarget = Literal["code", "data"]


class Level(nn.Module):
    """One level: its conditionals, the cost between its data and their reconstruction, the penalty on its encoder.

    Args:
        layer: The conditionals `q(z_{n+1} | z_n)` and `p(z_n | z_{n+1})`.
        cost: The ground cost `c_n` on `z_n`; squared Euclidean unless given.
        regulariser: A penalty on the encoder's distribution (Eq. 17), or None.
        penalty_weight: The weight `λ^Σ` of that penalty, at least 0.
        space: Where the cost compares: "latent" (the paper's: `z_n` itself) or "data": the prediction is decoded down to the data,
            `R_{n+1} = G_n(z~_n)` with `z~_n` one draw of `p(z_n | z_{n+1})` and `G_n` the decoders' means. At the bottom the two are
            one.
        target: What a prediction in data space is compared with: "code", the level's own code decoded likewise, `c(R_n, R_{n+1})`;
            or "data", the data themselves, `c(x, R_{n+1})`.

    Raises:
        ConfigError: The penalty's weight is negative or not finite, or the target is the data and the space is not.
    """

    def __init__(
        self,
        layer: LatentLayer,
        *,
        cost: Cost | None = None,
        regulariser: Regulariser | None = None,
        penalty_weight: float = 1.0,
        space: CostSpace = "latent",
        target: CostTarget = "code",
    ) -> None:
        super().__init__()
        if space == "latent" and target == "data":
            raise ConfigError('target = "data" needs space = "data": a prediction in a latent cannot be compared with the data')
        if not (penalty_weight >= 0 and math.isfinite(penalty_weight)):
            raise ConfigError(f"penalty_weight is {penalty_weight}; the weight of a regulariser is a finite number, at least 0")
        self.layer = layer
        self.cost = SquaredEuclidean() if cost is None else cost
        self.regulariser = regulariser
        self.penalty_weight = penalty_weight if regulariser is not None else 0.0
        self.space: CostSpace = space
        self.target: CostTarget = target
