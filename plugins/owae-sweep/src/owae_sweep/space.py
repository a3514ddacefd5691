"""Reads a `[sweep]` table: which settings vary over which values, what is measured and how points are chosen."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from owae.config.config import Config
from owae.errors import ConfigError, Problem
from owae.registry.registry import Registry

Point = dict[str, Any]  # a value for each path

# What training minimises: a sum whose weights are settings themselves.
_OBJECTIVES = {"loss", "transport", "validation/loss", "validation/transport"}


class Range(BaseModel):
    """Numbers between two bounds, both included.

    Attributes:
        low: The lower bound.
        high: The upper bound.
        log: Whether they are spread evenly by their logarithm.
        integer: Whether they are whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"found low = {self.low:g}, high = {self.high:g}; low must lie below high")
        if self.log and self.low <= 0:
            raise ValueError(f"found low = {self.low:g} with log = true; a logarithm needs a low above 0")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("with integer = true both bounds are whole numbers")
        return self

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        if self.integer:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def ends(self) -> list[Any]:
        return [int(self.low), int(self.high)] if self.integer else [self.low, self.high]


class Sweep(BaseModel):
    """The table `[sweep]`.

    Attributes:
        parameters: By dotted path (`weights.match`, `levels[0].layer.latent`), a list of values or a range.
        metric: A number of `owae evaluate --json` by its path (`levels[4].accuracy`, `matching.value`) or one of `metrics.jsonl` by
            its name (`validation/loss`); several are optimised together, to a Pareto front.
        direction: "minimize" or "maximize", one for each metric.
        sampler: "grid" (every combination of lists), or one of Optuna's: "tpe", "random", "gp".
        pruner: One of Optuna's, which ends trials early by `prune_by`; only with one metric and one seed.
        prune_by: A number that training logs after each epoch.
        trials: Points to try; those of the grid by default.
        seeds: Values of `train.seed` at each point; mean and standard deviation over them are shown, the mean is optimised.
        seed: Decides what the sampler draws.
        config: The config file that varies, if it is not the file that holds this table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: dict[str, Range | list[Any]] = Field(min_length=1)
    metric: tuple[str, ...] = Field(min_length=1)
    direction: tuple[Literal["minimize", "maximize"], ...] = Field(min_length=1)
    sampler: Literal["grid", "tpe", "random", "gp"] = "grid"
    pruner: Literal["none", "median", "successive-halving", "hyperband"] = "none"
    prune_by: str = "loss"
    trials: int | None = Field(default=None, ge=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    seed: int = Field(default=0, ge=0)
    config: Path | None = None

    @field_validator("metric", "direction", "seeds", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        return [given] if isinstance(given, str | int) else given

    @field_validator("parameters", mode="before")
    @classmethod
    def _values(cls, parameters: Any) -> Any:
        for name, values in parameters.items() if isinstance(parameters, dict) else ():
            if not isinstance(values, list | dict):
                raise ValueError(f"{name}: found {values!r}; a list of values, or {{ low = …, high = … }}, would work")
            if isinstance(values, list) and not values:
                raise ValueError(f"{name}: the list is empty; at least one value is needed")
            if isinstance(values, list) and len({_text(value) for value in values}) < len(values):
                raise ValueError(f"{name}: a value stands there twice")
        return parameters

    @model_validator(mode="after")
    def _fitting(self) -> Sweep:
        parts: dict[tuple[str, ...], str] = {}
        for name in self.parameters:
            path = _parts(name)
            if path == ("train", "seed"):
                raise ValueError("parameters: train.seed is no parameter; write seeds = [0, 1, …]")
            for other, said in parts.items():
                if path[: len(other)] == other or other[: len(path)] == path:
                    raise ValueError(f"parameters: '{name}' and '{said}' set the same place; keep one")
            parts[path] = name
        if len(self.metric) != len(self.direction):
            raise ValueError(f"direction: found {len(self.direction)} for {len(self.metric)} metrics; one each is needed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one stands there twice")
        ranges = [name for name, values in self.parameters.items() if isinstance(values, Range)]
        if self.sampler == "grid" and ranges:
            raise ValueError(f"parameters: '{ranges[0]}' is a range; a grid needs a list, the samplers tpe, random and gp take it")
        if self.sampler == "grid" and self.trials is not None:
            raise ValueError("trials: a grid has as many as it has points; leave this out, or choose another sampler")
        if self.sampler != "grid" and self.trials is None:
            raise ValueError(f"trials: sampler '{self.sampler}' needs to know how many; write trials = 50")
        if self.pruner != "none" and (len(self.metric) > 1 or len(self.seeds) > 1):
            raise ValueError("pruner: works with one metric and one seed")
        return self

    @property
    def count(self) -> int:
        """How many points are to be tried."""
        lists = [values for values in self.parameters.values() if isinstance(values, list)]
        return math.prod(map(len, lists)) if self.trials is None else self.trials

    def points(self) -> Iterator[Point]:
        """Yields the points of a grid, the last parameter fastest."""
        lists = [values for values in self.parameters.values() if isinstance(values, list)]
        for values in itertools.product(*lists):
            yield dict(zip(self.parameters, values, strict=True))

    def suggest(self, trial: optuna.Trial) -> Point:
        """Asks a trial for its point."""
        point = {}
        for name, values in self.parameters.items():
            if isinstance(values, Range):
                point[name] = values.suggest(trial, name)
            else:
                choices = {label(value): value for value in values}
                point[name] = choices[trial.suggest_categorical(name, list(choices))]
        return point

    def labels(self, point: Point) -> dict[str, Any]:
        """Returns a point as Optuna keeps it: scalars as they are, other values as text."""
        return {name: label(value) if isinstance(self.parameters[name], list) else value for name, value in point.items()}

    def cautions(self) -> list[str]:
        """Says what of the table is allowed but probably not meant."""
        swept = [name for name in self.parameters if _parts(name)[0] == "weights" or _parts(name)[-1] == "penalty_weight"]
        return [
            f"metric '{metric}' is a sum weighted by '{swept[0]}', which the sweep changes: small weights win by it whatever the samples "
            "are; compare by a number that does not depend on them, as levels[0].error or matching.value"
            for metric in self.metric
            if swept and metric in _OBJECTIVES
        ]


class Base:
    """The config that a sweep varies.

    Attributes:
        values: Its values as TOML has them.
        path: Its file.
        registry: The components that it names.
    """

    def __init__(self, values: dict[str, Any], path: Path, overrides: Sequence[str], registry: Registry) -> None:
        self.values, self.path, self.registry, self._overrides = values, path, registry, tuple(overrides)

    @classmethod
    def load(cls, path: Path, overrides: Sequence[str], registry: Registry) -> Base:
        return cls(Config.parse(path), path, overrides, registry)

    def at(self, point: Mapping[str, Any], seed: int) -> Config:
        """The config at a point of the space.

        Raises:
            ConfigError: It has mistakes.
        """
        texts = [*self._overrides, *(f"{name}={_text(value)}" for name, value in point.items()), f"train.seed={seed}"]
        return Config.from_dict(self.values, self.registry, self.path.absolute().parent, str(self.path), texts)


def read(path: Path, overrides: Sequence[str], registry: Registry) -> tuple[Sweep, Base]:
    """Reads a sweep and the config that it varies, and checks every value of the space with the config.

    Raises:
        ConfigError: The file, the table or a config of the space has mistakes; each is named by its place.
    """
    base = Base.load(path, overrides, registry)
    table = base.values.pop("sweep", None)
    if table is None:
        raise ConfigError("has no [sweep] table; one says which settings vary: see docs/sweeps.md", str(path))
    try:
        sweep = Sweep.model_validate(table)
    except ValidationError as error:
        raise ConfigError(list(_problems(error)), str(path)) from error
    if sweep.config is not None:
        if base.values:
            others = ", ".join(f"'{key}'" for key in base.values)
            raise ConfigError(f"names a config in sweep.config and holds {others} too; keep the [sweep] table alone", str(path))
        base = Base.load(path.parent / sweep.config, overrides, registry)
        base.values.pop("sweep", None)
    _check(sweep, base)
    return sweep, base


def _check(sweep: Sweep, base: Base) -> None:
    """Checks the configs of the space: a grid at each point, others at one point and at each value of each parameter from there."""
    if sweep.sampler == "grid":
        points = list(sweep.points())
    else:
        values = {name: each.ends() if isinstance(each, Range) else each for name, each in sweep.parameters.items()}
        first = {name: each[0] for name, each in values.items()}
        points = [first | {name: value} for name, each in values.items() for value in each]
    found: dict[tuple[str, str], Problem] = {}
    for point in points:
        try:
            base.at(point, sweep.seeds[0])
        except ConfigError as error:
            for problem in error.problems:
                found.setdefault((problem.place, problem.message), problem)
    if found:
        raise ConfigError(list(found.values()), str(base.path))


def label(value: Any) -> Any:
    """Returns a value as Optuna takes a choice: numbers, texts and truth values as they are, else as TOML text."""
    return value if isinstance(value, str | int | float | bool) else _text(value)


def key(point: Mapping[str, Any]) -> str:
    """Returns a text that is equal for equal points alone."""
    return json.dumps(point, sort_keys=True)


def _text(value: Any) -> str:
    """Returns a value as TOML writes it in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_text(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value) if isinstance(value, str | bool | int | float) else str(value)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(re.sub(r"\[(\d+)\]", r".\1", name.strip()).split("."))


def _problems(error: ValidationError) -> Iterator[Problem]:
    for each in error.errors():
        place = ".".join(["sweep", *(str(part) for part in each["loc"] if part not in ("Range", "list[any]"))])
        yield Problem(place, each["msg"].removeprefix("Value error, "))
