"""Words messages about unknown keys of a config, which are often right in another table or for another component."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from owae.config.schema import Context, LevelConfig
from owae.config.weights import Weights, rule_model
from owae.errors import OwaeError, nearest, suggestion
from owae.registry.options import options_model
from owae.registry.problems import keys_within
from owae.training.optimizers import options_of
from owae.training.options import Options

Path = Sequence[str | int]

# What people call an option that goes by another name.
_SYNONYMS = {"learning_rate": "lr", "lr_scheduler": "schedule", "scheduler": "schedule", "optimiser": "optimizer"}


class Tables:
    """The tables of a config whose keys are known: the fixed ones, and the options of what the file names."""

    def __init__(self, model: type[BaseModel], context: Context) -> None:
        self._models: dict[Path, type[BaseModel]] = {
            (): model,
            ("levels",): LevelConfig,
            ("weights",): Weights,
            ("train",): Options,
        }
        self._models["train", "optimizer"] = options_of("optimizer", "Adam")
        self._models |= dict(_named(context.values, context))
        self._context = context

    def unknown(self, path: Path, key: str) -> str:
        """Words the message about a key that is unknown in the table at a path."""
        known = next(tuple(path[:n]) for n in range(len(path), -1, -1) if tuple(path[:n]) in self._models)
        valid = keys_within(self._models[known], path[len(known) :])
        if homes := self._elsewhere(key, known):
            return f"unknown key; '{key}' belongs {homes}"
        close = nearest(key, {*valid, *(synonym for synonym, name in _SYNONYMS.items() if name in valid)})
        if close in _SYNONYMS:
            return f"unknown key; did you mean '{_SYNONYMS[close]}'? valid: {', '.join(sorted(valid))}"
        if close is None:
            far = nearest(key, {*_SYNONYMS, *(name for table in self._models.values() for name in table.model_fields)})
            far = _SYNONYMS.get(far or "", far)
            if far and (homes := self._elsewhere(far, known)):
                return f"unknown key; did you mean '{far}'? It belongs {homes}"
            if not path and isinstance(self._context.values.get(key), dict):
                return f"unknown table; valid: {', '.join(sorted(valid))}; and for a phase of training: {self._no_phase(key)}"
        return f"unknown key; {suggestion(key, valid)}"

    def _no_phase(self, name: str) -> str:
        """Returns what the registry says of a phase that it does not have: those there are, and the plugins that failed."""
        try:
            return str(self._context.registry.get("phase", name))
        except OwaeError as error:
            return str(error)

    def _elsewhere(self, key: str, known: Path) -> str:
        homes = dict.fromkeys(_place(path) for path, table in self._models.items() if key in table.model_fields)
        return " or ".join(home for home in homes if home != _place(known))


def _named(values: Any, context: Context, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Path, type[BaseModel]]]:
    """Finds the tables that name a component, an optimiser, a schedule or a rule, and the options of each."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ():
        with suppress(OwaeError):  # a mistake of its own, or an option that happens to be called so
            match path, key, value:
                case ("train",), "optimizer" | "schedule" as kind, {"name": str(name)}:
                    model = options_of(kind, name)
                case ("weights",), _, {"rule": str(name)}:
                    model = rule_model(name)
                case (), str(), dict() if key in context.registry.names("phase"):
                    model = options_model(context.registry.get("phase", key))
                case _, str(), {"kind": str(name)}:
                    model = options_model(context.registry.get(key, name))
                case _:
                    yield from _named(value, context, (*path, key))
                    continue
            yield (*path, key), model


def _place(path: Path) -> str:
    """Returns where a table stands, for a reader of the file."""
    match [part for part in path if isinstance(part, str)]:
        case []:
            return "at the top of the file, before any [table]"
        case ["levels"]:
            return "in [[levels]]"
        case [table]:
            return f"in [{table}]"
        case ["levels", key]:
            return f"in {key} = {{ … }} of [[levels]]"
        case [table, *_, key]:
            return f"in {key} of [{table}]"
    raise ValueError(path)
