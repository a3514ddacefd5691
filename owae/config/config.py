"""A config: what to train, on what, how, as data that can be read, checked and written back.

Reading knows the components through a registry and makes none: no tensor of a model exists before the whole file is known to be
right. All mistakes come at once, in one `ConfigError`. `Config.to_toml` writes the effective config, every default filled in and
every path absolute, and reading that again gives an equal `Config`.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, create_model, field_validator

from owae.config.old_keys import NEWEST, refuse_newer, replace_old_keys
from owae.config.overrides import apply, with_override
from owae.config.schema import Component, Context, LevelConfig, Phase, Spec
from owae.config.unknown_keys import Tables
from owae.config.weights import Weights
from owae.errors import ConfigError, PluginError, Problem, nearest, suggestion
from owae.registry.problems import STRICT, Info, join, mistake, problems, read, shown
from owae.registry.registry import Registry
from owae.training.options import Options


class Config(BaseModel, frozen=True):
    """A whole config, valid. Two are equal if they say the same, from whatever files.

    Attributes:
        version: The version of what keys mean, 1 so far, also where a file does not say; a newer one is refused.
        matched_level: The level at which stacking stops: the divergence compares its codes with its prior.
        data: What to train on.
        weights: The table [weights].
        cost: The cost of levels without one of their own.
        regulariser: The regulariser of levels without one of their own, or None.
        prior: The prior on the deepest level.
        divergence: What closes the stack.
        train: The table [train].
        levels: Bottom first.

    Beside these a file has a table for each further phase of training, called as the phase is: see `phases`.
    """

    model_config = STRICT

    version: int = Field(default=1, ge=1, le=NEWEST)
    matched_level: int = Field(default=None, validate_default=True)
    data: Component = Field(default=None, validate_default=True)
    weights: Weights = Field(default=None, validate_default=True)
    cost: Component = Field(default={"kind": "squared-euclidean"}, validate_default=True)
    regulariser: Component | None = None
    prior: Component = Field(default={"kind": "standard-normal"}, validate_default=True)
    divergence: Component = Field(default=None, validate_default=True)
    train: Options = Field(default={}, validate_default=True)
    levels: tuple[LevelConfig, ...] = Field(default=(), validate_default=True)
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The file it came from, if any."""
        return self._source

    @property
    def phases(self) -> dict[str, Spec]:
        """The further phases of training, by name, in the order of the file."""
        return {name: spec for name, spec in self._tables.items() if not spec.first}

    @property
    def beginnings(self) -> dict[str, Spec]:
        """What changes the first training (`Phase.first`), by name, in the order of the file."""
        return {name: spec for name, spec in self._tables.items() if spec.first}

    @property
    def _tables(self) -> dict[str, Spec]:
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in Config.model_fields}
        return {name: spec for name, spec in values.items() if spec is not None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.to_dict() == other.to_dict()

    @field_validator("matched_level", mode="plain")
    @classmethod
    def _within_depth(cls, matched: object, info: Info) -> int:
        context: Context = info.context
        if matched is not None and not context.matched_level and context.levels:
            depth = len(context.levels)
            raise mistake(f"found {shown(matched)}; with {depth} levels it is a whole number from 1 to {depth}")
        return context.matched_level

    @field_validator("levels", mode="before")
    @classmethod
    def _list_of_tables(cls, levels: object) -> tuple[object, ...]:
        if not isinstance(levels, list | tuple):
            raise mistake(f"found {shown(levels)}; levels are a list of tables: write [[levels]] before each, bottom first")
        if not levels:
            raise mistake("there are none; write a [[levels]] table for each, bottom first")
        return tuple(levels)

    @field_validator("weights", mode="wrap")
    @classmethod
    def _usable(cls, table: object, handler: Any, info: Info) -> Weights:
        if table is None:
            raise mistake("is missing; write [weights] with match and, where two levels or more are stacked, reconstruction")
        weights: Weights = handler(table)
        try:
            weights.check(info.context.matched_level)
        except ConfigError as error:
            raise mistake(str(error)) from error
        return weights

    @field_validator("train")
    @classmethod
    def _measured(cls, train: Options, info: Info) -> Options:
        """Checks that the metric that training is watched by will be measured."""
        if train.best and train.validation is None:
            raise mistake("needs examples that are held out; write validation = 0.1 in [train], or leave this out", "best")
        metrics = info.context.metrics
        if train.best and metrics and train.best.metric not in metrics:
            raise mistake(f"found '{train.best.metric}'; {suggestion(train.best.metric, metrics)}", "best", "metric")
        return train

    @classmethod
    def load(cls, path: str | Path, registry: Registry, overrides: Iterable[str] = (), folder: Path | None = None) -> Config:
        """Reads a TOML file.

        Args:
            path: The file.
            registry: The components it can name.
            overrides: Changes as `train.epochs=3`, made before anything is checked.
            folder: What relative paths are relative to; the file's own folder unless given.

        Raises:
            ConfigError: The file cannot be read, or holds mistakes: all of them are in `problems`.
        """
        return cls.from_dict(cls.parse(path), registry, folder or Path(path).parent, str(Path(path)), overrides)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], registry: Registry, folder: str | Path = "", source: str = "", overrides: Iterable[str] = ()
    ) -> Config:
        """Reads values, as `parse` gives them; relative paths are relative to `folder`, else to the current one."""
        changed = copy.deepcopy(dict(values))
        replace_old_keys(changed, source)
        set_by, found = apply(changed, overrides)
        replace_old_keys(changed, "--set")
        refuse_newer(changed.get("version"), source)
        context, model = Context(changed, registry, Path(folder).absolute()), _with_phases(changed, registry)
        config, wrong = None, _nones(changed)
        try:
            config = read(model, changed, context)
            config._source = source  # pyright: ignore[reportAttributeAccessIssue] # frozen, but for private attributes
        except ValidationError as error:
            wrong += problems(error, changed, Tables(model, context).unknown)
        found += [with_override(problem, set_by) for problem in wrong]
        if config is None or found:
            raise ConfigError(found, source)
        return config

    @staticmethod
    def parse(path: str | Path) -> dict[str, Any]:
        """Reads a TOML file's values and checks nothing; `ConfigError` if it is no TOML."""
        path = Path(path)

        def refuse(reason: str) -> ConfigError:
            return ConfigError(reason, str(path))

        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            siblings = [file.name for file in path.parent.glob("*.toml")] if path.parent.is_dir() else []
            close = nearest(path.name, siblings)
            raise refuse("no such file" + (f"; did you mean '{path.parent / close}'?" if close else "")) from error
        except IsADirectoryError as error:
            raise refuse("is a folder; a config is a TOML file") from error
        except (OSError, ValueError) as error:  # ValueError: a path that no file system takes
            raise refuse(f"cannot be read: {error}") from error
        try:
            return tomllib.loads(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise refuse(f"is not UTF-8, as TOML must be: byte 0x{content[error.start]:02x} in line {line}") from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise refuse(f"is not valid TOML: {error}{_marked(content.decode('utf-8-sig'), str(error))}") from error

    def to_dict(self) -> dict[str, Any]:
        """The effective config as TOML values."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """The effective config as a file."""
        return tomli_w.dumps(self.to_dict())


def _marked(text: str, message: str) -> str:
    """Returns the line that a TOML parser's message is about, with a mark beneath the place."""
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    where = re.search(r"line (\d+), column (\d+)", message)
    number, column = map(int, where.groups()) if where else (len(lines), len(lines[-1]) + 1)
    start = max(0, column - 80)
    line = "".join(sign if sign.isprintable() else " " for sign in lines[number - 1][start : start + 120])
    return f"\n  {line}\n  {' ' * (column - start - 1)}^"


def _with_phases(values: Mapping[str, Any], registry: Registry) -> type[Config]:
    """Returns the model of a file that may have a table for each phase, those that it has in their order."""
    names = sorted(registry.names("phase"), key=lambda name: [*values].index(name) if name in values else len(values))
    if taken := [name for name in names if name in Config.model_fields]:
        raise PluginError(f"a phase is called '{taken[0]}', which is a key of every config; another name would work")
    fields: dict[str, Any] = dict.fromkeys(names, (Phase | None, None))
    return create_model("Config", __base__=Config, **fields)


def _nones(value: Any, place: str = "") -> list[Problem]:
    """Finds values that TOML cannot say, in a config from Python."""
    if value is None:
        return [Problem(place, "is None, which TOML cannot say; leave the key out for its default")]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [problem for key, item in items for problem in _nones(item, join(place, key))]
