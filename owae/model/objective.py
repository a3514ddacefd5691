"""The result of one evaluation of a stack: Eq. 14, term by term."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from owae.distributions import Distribution
from owae.errors import ConfigError


def products(multipliers: Sequence[float]) -> tuple[float, ...]:
    """Returns `w_0 = 1, w_1, …`, the products `w_i = λ_1 ⋯ λ_i` of Eq. 14."""
    return tuple(itertools.accumulate(multipliers, operator.mul, initial=1.0))


def multipliers_of(weights: Sequence[float], matched_level: int) -> tuple[float, ...]:
    """`λ_1 … λ_k` from the products `w_1 … w_k`."""
    if len(weights) != matched_level:
        raise ConfigError(
            f"{len(weights)} weights for a stack matched at level {matched_level}; "
            f"it takes {matched_level}: w_1 … w_{matched_level}, the last one the divergence's"
        )
    if bad := [w for w in weights if not (w >= 0 and math.isfinite(w))]:
        raise ConfigError(f"weights hold {bad[0]}; each is a finite number, at least 0")
    numbers = torch.finfo(torch.float32)
    if bad := [w for w in weights if w and not numbers.tiny <= w <= numbers.max]:
        raise ConfigError(f"weights hold {bad[0]}, which float32 cannot: 0, or {numbers.tiny:.2g} to {numbers.max:.2g} would work")
    multipliers = []
    below = 1.0
    for i, w in enumerate(weights, start=1):
        if below == 0 and w > 0:
            raise ConfigError(f"w_{i} = {w} follows a zero: w_i is the product λ_1 … λ_i, so a zero cuts off everything deeper")
        multipliers.append(w / below if below > 0 else 0.0)
        if multipliers[-1] > numbers.max:
            raise ConfigError(f"w_{i} = {w} is {multipliers[-1]:.2g} times the weight below it, more than float32 holds")
        below = float(w)
    return tuple(multipliers)


@dataclass(frozen=True)
class Objective:
    """What one evaluation of a stack gives. All tensors are scalars unless said otherwise.

    Attributes:
        costs: `E c_i(z_i, z~_i)` for i = 0 … N−1, unweighted.
        penalties: The regulariser's mean on the encoder of `z_i`, i = 1 … N, unweighted; 0 where there is none.
        divergence: `D(Q_N, P_N)`, unweighted.
        weights: `w_0 = 1, w_1, …, w_N`: the weights of the costs, then of the divergence (Eq. 14).
        penalty_weights: `λ^Σ_1 … λ^Σ_N`.
        transport: Eq. 14.
        loss: `transport` plus the weighted penalties (Eq. 17): what training minimises.
        posteriors: `q(z_i | z_{i−1})`, i = 1 … N.
        codes: The draws `z_i`, i = 1 … N, each (B, *z_i).
    """

    costs: tuple[Tensor, ...]
    penalties: tuple[Tensor, ...]
    divergence: Tensor
    weights: tuple[float, ...]
    penalty_weights: tuple[float, ...]
    transport: Tensor
    loss: Tensor
    posteriors: tuple[Distribution, ...]
    codes: tuple[Tensor, ...]

    @classmethod
    def summed(
        cls,
        costs: Sequence[Tensor],
        penalties: Sequence[Tensor],
        divergence: Tensor,
        *,
        multipliers: Sequence[float],
        penalty_weights: Sequence[float],
        posteriors: Sequence[Distribution] = (),
        codes: Sequence[Tensor] = (),
    ) -> Objective:
        """Returns the objective made of these terms, bottom first: Eq. 14 summed from the top as Eq. 11 says, plus Eq. 17.

        `multipliers` are `λ_1 … λ_N`, whose products are the weights; the others are as the attributes.
        """
        transport = divergence
        for cost, multiplier in zip(reversed(costs), reversed(multipliers), strict=True):
            transport = cost + multiplier * transport
        loss = transport
        for weight, penalty in zip(penalty_weights, penalties, strict=True):
            if weight > 0:
                loss = loss + weight * penalty
        return cls(
            costs=tuple(costs),
            penalties=tuple(penalties),
            divergence=divergence,
            weights=products(multipliers),
            penalty_weights=tuple(penalty_weights),
            transport=transport,
            loss=loss,
            posteriors=tuple(posteriors),
            codes=tuple(codes),
        )

    def terms(self) -> dict[str, Tensor]:
        """Every term by name: `cost/i` on z_i, `penalty/i` on the encoder of z_i, `divergence`, `transport`, `loss`."""
        named = {f"cost/{i}": cost for i, cost in enumerate(self.costs)}
        named |= {
            f"penalty/{i}": penalty
            for i, (penalty, weight) in enumerate(zip(self.penalties, self.penalty_weights, strict=True), start=1)
            if weight > 0
        }
        return named | {"divergence": self.divergence, "transport": self.transport, "loss": self.loss}

    @torch.no_grad()
    def scalars(self) -> dict[str, float]:
        """The terms, and each level's `spread/i` (standard deviation of z_i over the batch) and `variance/i` (of its encoder).

        Both are means over the coordinates. A spread near 0 is a dead level, a variance near 0 a deterministic encoder.
        Reads the device once.
        """
        named = {name: term.detach() for name, term in self.terms().items()}
        for i, (q, z) in enumerate(zip(self.posteriors, self.codes, strict=True), start=1):
            named[f"spread/{i}"] = z.detach().std(0, correction=0).mean()
            named[f"variance/{i}"] = q.variance.detach().mean()
        return dict(zip(named, torch.stack([value.float() for value in named.values()]).tolist(), strict=True))
