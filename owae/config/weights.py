"""The weights of a stack, by rule or one by one: the products `w_1 … w_k` of Eq. 14 and the penalties' `λ^Σ_1 … λ^Σ_k` of Eq. 17.

A rule gives a number for each level i from i itself and the dimension `d_i` of its latent, so that one number in a config moves
them all; a sweep over the paper's grid changes `base` and `match`.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field

from owae.registry.options import STRICT

Weight = Annotated[float, Field(ge=0)]


class _Ruled(BaseModel, ABC, frozen=True):
    model_config = STRICT
    rule: ClassVar[str]

    @abstractmethod
    def over(self, dims: Sequence[int]) -> list[float]:
        """The weights of levels 1 … len(dims), whose latents have these dimensions.

        Raises:
            ArithmeticError: A weight is too large for a float, or undefined.
        """

    def to_dict(self) -> dict[str, Any]:
        return {"rule": self.rule, **self.model_dump()}


class Power(_Ruled, frozen=True):
    """`base^(first + (i − 1)·step)`, divided by `d_i` where `per_dimension` is true (App. B.1: `λ_rec^i / d_i`)."""

    rule = "power"
    base: Weight
    per_dimension: bool = False
    first: float = 1.0
    step: float = 1.0

    def over(self, dims: Sequence[int]) -> list[float]:
        return [self.base ** (self.first + i * self.step) / (d if self.per_dimension else 1) for i, d in enumerate(dims)]


class Constant(_Ruled, frozen=True):
    """`value` at every level."""

    rule = "constant"
    value: Weight = 1.0

    def over(self, dims: Sequence[int]) -> list[float]:
        return [self.value for _ in dims]


class Exponential(_Ruled, frozen=True):
    """`scale·exp(−decay·(i − 1))`, the last level's times `last` (App. B.2's weights of the log-variance penalty)."""

    rule = "exponential"
    scale: Weight
    decay: float = 1.0
    last: Weight = 1.0

    def over(self, dims: Sequence[int]) -> list[float]:
        weights = [self.scale * math.exp(-self.decay * i) for i in range(len(dims))]
        return [*weights[:-1], *(self.last * weight for weight in weights[-1:])]


RULES: dict[str, type[_Ruled]] = {rule.rule: rule for rule in (Power, Constant, Exponential)}


@dataclass(frozen=True)
class Listed:
    """Weights one by one."""

    values: tuple[float, ...]

    def over(self, dims: Sequence[int]) -> list[float]:
        return list(self.values)

    def to_dict(self) -> list[float]:
        return list(self.values)


Rule = Power | Constant | Exponential | Listed


class Numbers(BaseModel):
    """A list of weights, to be validated."""

    model_config = STRICT
    values: tuple[Weight, ...]


@dataclass(frozen=True)
class Weights:
    """The table [weights].

    Attributes:
        reconstruction: Gives `w_1 … w_{k−1}`, the weights of the costs on `z_1 … z_{k−1}`; None where only one level is stacked.
        match: `w_k`, the weight of the divergence.
        regulariser: Gives `λ^Σ_1 … λ^Σ_k`; None where there is no regulariser.
    """

    reconstruction: Rule | None
    match: float
    regulariser: Rule | None = None

    def products(self, dims: Sequence[int]) -> tuple[float, ...]:
        """`w_1 … w_k` for the dimensions `d_1 … d_k` of the stacked levels."""
        return (*(self.reconstruction.over(dims[:-1]) if self.reconstruction else ()), self.match)

    def penalties(self, dims: Sequence[int]) -> tuple[float, ...]:
        """`λ^Σ_1 … λ^Σ_k` for the dimensions `d_1 … d_k` of the stacked levels; zeros where there is no regulariser."""
        return tuple(self.regulariser.over(dims) if self.regulariser else (0.0 for _ in dims))

    def faults(self, stacked: int) -> Iterator[str]:
        """What makes the weights of that many stacked levels unusable, if anything."""
        ones = [1] * stacked
        try:
            products, penalties = self.products(ones), self.penalties(ones)
        except ArithmeticError as error:
            yield f"a rule gives no usable number at some level: {error}"
            return
        for name, weights in (("w", products), ("λ^Σ", penalties)):
            for i, weight in enumerate(weights, start=1):
                if not math.isfinite(weight):
                    yield f"{name}_{i} is {weight}; a weight is a finite number"
        for i, (below, weight) in enumerate(itertools.pairwise(products), start=2):
            if below == 0 and weight > 0:
                yield f"w_{i} = {weight:g} follows w_{i - 1} = 0: w_i is the product λ_1 … λ_i, so a zero cuts off what is deeper"

    def to_dict(self) -> dict[str, Any]:
        """As in a config."""
        rules = {"reconstruction": self.reconstruction, "regulariser": self.regulariser}
        return {"match": self.match, **{name: rule.to_dict() for name, rule in rules.items() if rule is not None}}
