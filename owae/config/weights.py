"""The weights of a stack, by rule or one by one: the products `w_1 … w_k` of Eq. 14 and the penalties' `λ^Σ_1 … λ^Σ_k` of Eq. 17.

A rule gives a number for each level i from i and the dimension `d_i` of its latent, so that one number in a config sets all; a sweep
over the paper's grid changes `base` and `match`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, RootModel, SerializeAsAny, field_validator

from owae.errors import ConfigError, suggestion
from owae.model.objective import multipliers_of
from owae.registry.problems import STRICT, Info, mistake, read_tagged

Weight = Annotated[float, Field(ge=0)]


class Rule(BaseModel, ABC, frozen=True):
    """Gives the weights of levels from the levels' numbers and dimensions."""

    model_config = STRICT

    @abstractmethod
    def over(self, dims: Sequence[int]) -> list[float]:
        """Returns the weights of levels whose latents have these dimensions; `ArithmeticError` where one is too large or undefined."""


class Power(Rule, frozen=True):
    """`base^(first + (i − 1)·step)`, divided by `d_i` where `per_dimension` is true (App. B.1: `λ_rec^i / d_i`)."""

    rule: Literal["power"] = "power"
    base: Weight
    per_dimension: bool = False
    first: float = 1.0
    step: float = 1.0

    def over(self, dims: Sequence[int]) -> list[float]:
        return [self.base ** (self.first + i * self.step) / (d if self.per_dimension else 1) for i, d in enumerate(dims)]


class Constant(Rule, frozen=True):
    """`value` at every level."""

    rule: Literal["constant"] = "constant"
    value: Weight = 1.0

    def over(self, dims: Sequence[int]) -> list[float]:
        return [self.value for _ in dims]


class Exponential(Rule, frozen=True):
    """`scale·exp(−decay·(i − 1))`, the last level's times `last` (App. B.2's weights of the log-variance penalty)."""

    rule: Literal["exponential"] = "exponential"
    scale: Weight
    decay: float = 1.0
    last: Weight = 1.0

    def over(self, dims: Sequence[int]) -> list[float]:
        weights = [self.scale * math.exp(-self.decay * i) for i in range(len(dims))]
        return [*weights[:-1], *(self.last * weight for weight in weights[-1:])]


class Listed(RootModel[list[Weight]], frozen=True):
    """Weights one by one."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    def over(self, dims: Sequence[int]) -> list[float]:
        return list(self.root)


RULES: dict[str, type[Rule]] = {"power": Power, "constant": Constant, "exponential": Exponential}


def rule_model(name: str) -> type[BaseModel]:
    """Returns the options of a rule; `ConfigError` if there is none of that name."""
    if name not in RULES:
        raise ConfigError(f"found '{name}'; {suggestion(name, RULES)}")
    return RULES[name]


def _rule(value: object) -> BaseModel:
    if isinstance(value, Rule | Listed):
        return value
    if isinstance(value, list | tuple):
        return Listed.model_validate(list(value))
    if type(value) in (int, float):
        return Constant.model_validate({"value": value})
    return read_tagged(value, "rule", RULES, rule_model)[1]


Weighting = Annotated[SerializeAsAny[Rule | Listed], PlainValidator(_rule)]


class Weights(BaseModel, frozen=True):
    """The table [weights].

    Attributes:
        reconstruction: Gives `w_1 … w_{k−1}`, the weights of the costs on `z_1 … z_{k−1}`; None where only one level is stacked.
        match: `w_k`, the weight of the divergence.
        regulariser: Gives `λ^Σ_1 … λ^Σ_k`; None where there is no regulariser.
    """

    model_config = STRICT

    reconstruction: Weighting | None = Field(default=None, validate_default=True)
    match: Weight
    regulariser: Weighting | None = Field(default=None, validate_default=True)

    @field_validator("reconstruction", "regulariser")
    @classmethod
    def _fits_levels(cls, rule: Rule | Listed | None, info: Info) -> Rule | Listed | None:
        """Checks that a list has a weight for each stacked level of the file, and that a rule has something to weigh."""
        if info.context is None:
            return rule
        matched, regularised = info.context.matched_level, info.context.regularised
        if info.field_name == "reconstruction":
            takes = matched - 1
            if rule is None and takes > 0:
                raise mistake('is missing; write { rule = "power", base = 0.1 }, a list of w_1, …, or one number for all')
        else:
            takes = matched
            if rule is not None and not regularised:
                raise mistake("there is no regulariser to weigh; write [regulariser], or leave this out")
            if rule is None and regularised:
                rule = Constant()
        if isinstance(rule, Listed) and matched and len(rule.root) != takes:
            raise mistake(f"holds {len(rule.root)} weights; where {matched} levels are stacked it takes {takes}")
        return rule

    def products(self, dims: Sequence[int]) -> tuple[float, ...]:
        """`w_1 … w_k` for the dimensions `d_1 … d_k` of the stacked levels."""
        return (*(self.reconstruction.over(dims[:-1]) if self.reconstruction else ()), self.match)

    def penalty_weights(self, dims: Sequence[int]) -> tuple[float, ...]:
        """`λ^Σ_1 … λ^Σ_k` for the dimensions `d_1 … d_k` of the stacked levels; zeros where there is no regulariser."""
        return tuple(self.regulariser.over(dims) if self.regulariser else (0.0 for _ in dims))

    def check(self, matched_level: int) -> None:
        """Raises a `ConfigError` if no stack matched at that level can use the weights; 0 if the level is not known."""
        if not matched_level:
            return
        dims = [1] * matched_level
        try:
            products, _ = self.products(dims), self.penalty_weights(dims)
        except ArithmeticError as error:
            raise ConfigError(f"a rule gives no usable number at some level: {error}") from error
        try:
            multipliers_of(products, matched_level)
        except ConfigError as error:
            given = ", ".join(f"w_{i} = {weight:g}" for i, weight in enumerate(products, start=1))
            raise ConfigError(f"{error}; these weights are {given}") from error
