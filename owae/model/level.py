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
            `R_{n+1} = G_n(z~_n)` with `z~_n` one draw of `p(z_n | z_{n+1})` and `G_n` the decoders' means. At the bottom both are one.
        target: What a prediction in data space is compared with: "code", the level's own code decoded likewise, `c(R_n, R_{n+1})`;
            or "data", the data themselves, `c(x, R_{n+1})`.
        rows: The share of a batch's rows, above 0 and at most 1, on which the cost is measured, and at least eight of them. Its
            expectation over random batches is the same; a step decodes less. Rows are dealt in turn, the deepest level first: with shares
            that add up to 1, each row is decoded from one level. All rows are taken if the level above compares with them.
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
        rows: float = 1.0,
    ) -> None:
        super().__init__()
        if found := conflict(space, target, rows):
            raise ConfigError(found)
        if not (penalty_weight >= 0 and math.isfinite(penalty_weight)):
            raise ConfigError(f"penalty_weight is {penalty_weight}; the weight of a regulariser is a finite number, at least 0")
        self.layer = layer
        self.cost = SquaredEuclidean() if cost is None else cost
        self.regulariser = regulariser
        self.penalty_weight = penalty_weight if regulariser is not None else 0.0
        self.space: CostSpace = space
        self.target: CostTarget = target
        self.rows = rows


def conflict(space: CostSpace, target: CostTarget, rows: float) -> str | None:
    """Tells what is wrong with how a level's cost is measured, and what would work; None if nothing is."""
    if not 0 < rows <= 1:
        return f"rows is {rows}; the share of a batch's rows on which a cost is measured is above 0 and at most 1"
    if space == "latent" and target == "data":
        return 'target = "data" needs space = "data": a prediction in a latent cannot be compared with the data'
    if space == "data" and target == "code" and rows < 1:
        return f'rows = {rows} needs target = "data": codes that are themselves the target are decoded for all rows'
    return None
