"""Reads the sections of a config, each against what it can hold.

Every section is read whatever the others are like, so that one look tells all that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from owae.config.reading import TOP, Reader
from owae.config.schema import LevelConfig, LevelOptions, Spec, validation_metrics
from owae.config.weights import RULES, Constant, Listed, Numbers, Rule, Weight, Weights
from owae.errors import ConfigError, suggestion
from owae.registry.options import STRICT, join, options_model, shown, validated
from owae.registry.registry import Registry
from owae.training import torch_options
from owae.training.options import Options

_SECTIONS = ("matched_level", "data", "levels", "weights", "cost", "regulariser", "prior", "divergence", "train")
_DEFAULTS = {"cost": {"kind": "squared-euclidean"}, "prior": {"kind": "standard-normal"}}
_LEVEL = ("layer", "cost", "regulariser")
_RULED = ("reconstruction", "regulariser")
_TORCH = ("optimizer", "schedule")


class _Match(BaseModel):
    model_config = STRICT
    match: Weight


class Sections(Reader):
    """A reader of whole configs, for the components of a registry; relative paths are relative to `folder`."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        super().__init__()
        self._registry, self._folder = registry, folder
        self.home(TOP, _SECTIONS)
        self.home("[[levels]]", (*_LEVEL, *LevelOptions.model_fields))
        self.home("[weights]", (*_RULED, *_Match.model_fields))
        self.home("[train]", Options.model_fields)
        self.home("optimizer of [train]", torch_options.optimizer_arguments("Adam").model_fields)

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of a config by name; whole only if there are no `problems`."""
        self._refuse_none(values, "")
        sections = self.keys(values, "", TOP, _SECTIONS)
        data = self._section("data", sections)
        levels = self._levels(sections.get("levels"))
        components = {name: self._section(name, sections) for name in ("cost", "regulariser", "prior", "divergence")}
        stacked = self._stacked(sections, len(levels))
        regularised = any("regulariser" in table for table in (sections, *_tables(sections.get("levels"))))
        weights = self._weights(sections.get("weights"), stacked, regularised)
        train = self._train(sections.get("train", {}), validation_metrics(stacked, regularised) if stacked else [])
        return {"data": data, "levels": tuple(levels), **components, "matched_level": stacked, "weights": weights, "train": train}

    def _refuse_none(self, value: Any, place: str) -> None:
        if value is None:
            self.problem(place, "is None, which TOML cannot say; leave the key out for its default")
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self._refuse_none(item, join(place, str(key)))
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                self._refuse_none(item, join(place, i))

    def _section(self, name: str, sections: Mapping[str, Any]) -> Spec | None:
        if name in sections or name in _DEFAULTS:
            return self._component(name, sections.get(name, _DEFAULTS.get(name)), name, f"[{name}]")
        if name != "regulariser":
            self.problem(name, f"is missing; write [{name}] with a kind; valid: {', '.join(self._registry.names(name)) or 'none'}")
        return None

    def _component(self, interface: str, value: Any, place: str, table: str) -> Spec | None:
        registry = self._registry
        chosen = self.chosen(
            value,
            place,
            table,
            tag="kind",
            names=registry.names(interface),
            find=lambda kind: options_model(registry.get(interface, kind)),
        )
        return Spec.within(self._folder, interface, chosen.name, chosen.options) if chosen else None

    def _levels(self, values: Any) -> list[LevelConfig | None]:
        if values is None or values == []:
            self.problem("levels", "there are none; write a [[levels]] table for each, bottom first")
        elif not isinstance(values, list | tuple):
            self.problem(
                "levels", f"found {shown(values)}; levels are a list of tables: write [[levels]] before each, bottom first"
            )
        else:
            return [self._level(value, join("levels", i)) for i, value in enumerate(values)]
        return []

    def _level(self, value: Any, place: str) -> LevelConfig | None:
        table = self.table(value, place, "[[levels]]")
        if table is None:
            return None
        options = self.fields(LevelOptions, table, place, "[[levels]]", also=_LEVEL)
        if "layer" not in table:
            self.problem(join(place, "layer"), "is missing; write layer = { kind = …, … }")
        specs: dict[str, Any] = {
            name: self._component(name, table[name], join(place, name), f"{name} = {{ … }} of [[levels]]")
            for name in _LEVEL
            if name in table
        }
        return LevelConfig(**specs, options=options) if options and specs.get("layer") else None

    def _stacked(self, sections: Mapping[str, Any], depth: int) -> int:
        """The level at which stacking stops; 0 if that is not known."""
        stacked = sections.get("matched_level", depth)
        if not depth:
            return 0
        if type(stacked) is int and 1 <= stacked <= depth:
            return stacked
        self.problem("matched_level", f"found {shown(stacked)}; with {depth} levels it is a whole number from 1 to {depth}")
        return 0

    def _weights(self, value: Any, stacked: int, regularised: bool) -> Weights | None:
        if value is None:
            self.problem(
                "weights", "is missing; write [weights] with match and, where two levels or more are stacked, reconstruction"
            )
            return None
        table = self.table(value, "weights", "[weights]")
        if table is None:
            return None
        before = self.count
        match = self.fields(_Match, table, "weights", "[weights]", also=_RULED)
        reconstruction = self._rule(table, "reconstruction", stacked - 1, stacked)
        if reconstruction is None and stacked > 1 and "reconstruction" not in table:
            self.problem("weights.reconstruction", 'is missing; write { rule = "power", base = 0.1 }, or a list of w_1, …')
        if "regulariser" in table and not regularised:
            self.problem("weights.regulariser", "there is no regulariser to weigh; write [regulariser], or leave this out")
        regulariser = self._rule(table, "regulariser", stacked, stacked)
        if match is None or self.count > before or not stacked:
            return None
        weights = Weights(reconstruction, match.match, regulariser or (Constant() if regularised else None))
        for fault in weights.faults(stacked):
            self.problem("weights", fault)
        return weights

    def _rule(self, table: Mapping[str, Any], name: str, count: int, stacked: int) -> Rule | None:
        """The weights under a name: by a rule, or in a list that must have `count` of them."""
        place, value = join("weights", name), table.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            chosen = self.chosen(value, place, f"{name} of [weights]", tag="rule", names=RULES, find=_rule)
            return chosen.options if chosen else None  # pyright: ignore[reportReturnType] # an instance of a class in RULES
        numbers, problems = validated(Numbers, {"values": value})
        for problem in problems:
            self.problem(place + problem.place.removeprefix("values"), problem.message)
        if stacked and len(value) != count:
            self.problem(place, f"holds {len(value)} weights; where {stacked} levels are stacked it takes {count}")
        return Listed(numbers.values) if isinstance(numbers, Numbers) else None

    def _train(self, value: Any, metrics: list[str]) -> Options | None:
        table = self.table(value, "train", "[train]")
        if table is None:
            return None
        options = self.fields(Options, table, "train", "[train]", also=_TORCH)
        if options is not None:
            self._metrics(options, metrics, "train.best" if isinstance(table.get("best"), str) else "train.best.metric")
        optimizer = self._torch("optimizer", table.get("optimizer", {}), "Adam")
        schedule = self._torch("schedule", table["schedule"], None) if "schedule" in table else None
        if optimizer is None:
            return None
        for name, words in torch_options.probe(optimizer, schedule):
            self.problem(join("train", name), words)
        return options.model_copy(update={"optimizer": optimizer, "schedule": schedule}) if options else None

    def _metrics(self, options: Options, valid: list[str], place: str) -> None:
        """Whether what training is watched by will be measured; `valid` is empty where the levels are not known."""
        if options.best is None:
            return
        if valid and options.best.metric not in valid:
            self.problem(place, f"found '{options.best.metric}'; {suggestion(options.best.metric, valid)}")
        if options.validation is None:
            self.problem("train.best", "needs examples that are held out; write validation = 0.1 in [train], or leave this out")

    def _torch(self, name: str, value: Any, default: str | None) -> dict[str, Any] | None:
        """An optimiser or a schedule: its `name` and arguments."""
        kind = torch_options.KINDS[name]
        chosen = self.chosen(
            value, join("train", name), f"{name} of [train]", tag="name", names=kind.names(), find=kind.arguments, default=default
        )
        return {"name": chosen.name, **torch_options.settled(chosen.values, chosen.given)} if chosen else None


def _tables(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list | tuple) else []


def _rule(name: str) -> type[BaseModel]:
    if name not in RULES:
        raise ConfigError(f"found '{name}'; {suggestion(name, RULES)}")
    return RULES[name]
