"""Messages about what is missing in a config, and about keys that are unknown where they stand.

A key that is unknown where it stands is often right elsewhere: in another table, or among the options of a component that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel

from owae.config.schema import Context, LevelConfig
from owae.config.weights import Weights, rule_model
from owae.errors import OwaeError, nearest, suggestion
from owae.registry.options import options_model
from owae.registry.problems import Words, keys_within
from owae.training.optimizers import options_of
from owae.training.options import Options

Path = Sequence[str | int]

# What people call an option that goes by another name.
_SYNONYMS = {"learning_rate": "lr", "lr_scheduler": "schedule", "scheduler": "schedule", "optimiser": "optimizer"}


class Hints(Words):
    """Words the messages about what is unknown or missing in a config.

    Args:
        model: That of a whole file.
        context: The file.
    """

    def __init__(self, model: type[BaseModel], context: Context) -> None:
        super().__init__(model)
        self._registry, self._values = context.registry, context.values
        # The tables whose keys are known, by path: the fixed ones, and the options of what the file names.
        self._tables: dict[tuple[str | int, ...], type[BaseModel]] = {
            (): model,
            ("levels",): LevelConfig,
            ("weights",): Weights,
            ("train",): Options,
            ("train", "optimizer"): options_of("optimizer", "Adam"),
        }
        for name in ("data", "cost", "regulariser", "prior", "divergence"):
            self._named(context.values, name, "kind", partial(self._component, name))
        for i, level in enumerate(context.levels):
            for name in ("layer", "cost", "regulariser"):
                self._named(level, name, "kind", partial(self._component, name), "levels", i)
        for name in ("optimizer", "schedule"):
            self._named(context.values.get("train"), name, "name", partial(options_of, name), "train")
        for name in ("reconstruction", "regulariser"):
            self._named(context.values.get("weights"), name, "rule", rule_model, "weights")
        for name in context.values.keys() & {*self._registry.names("phase")}:
            self._named({name: {"kind": name}}, name, "kind", partial(self._component, "phase"))

    def _component(self, interface: str, kind: str) -> type[BaseModel]:
        return options_model(self._registry.get(interface, kind))

    def _named(self, table: Any, key: str, tag: str, model_of: Callable[[str], type[BaseModel]], *place: str | int) -> None:
        """Sets down the options of what a table names under `tag`, if it is there; the table stands under a key of another."""
        value = table.get(key) if isinstance(table, Mapping) else None
        name = value.get(tag) if isinstance(value, Mapping) else None
        if isinstance(name, str):
            try:
                self._tables[*place, key] = model_of(name)
            except OwaeError:
                return  # a mistake of its own

    def missing(self, path: Path) -> str:
        match list(path):
            case ["data" | "divergence" as name]:
                names = ", ".join(self._registry.names(name)) or "none"
                return f"is missing; write [{name}] with a kind; valid: {names}"
            case ["levels", _, "layer"]:
                return "is missing; write layer = { kind = …, … }"
            case ["weights"]:
                return "is missing; write [weights] with match and, where two levels or more are stacked, reconstruction"
        return super().missing(path)

    def unknown(self, path: Path, key: str) -> str:
        known = next(tuple(path[:n]) for n in range(len(path), -1, -1) if tuple(path[:n]) in self._tables)
        valid = keys_within(self._tables[known], path[len(known) :])
        if homes := self._elsewhere(key, known):
            return f"unknown key; '{key}' belongs {homes}"
        close = nearest(key, {*valid, *(synonym for synonym, name in _SYNONYMS.items() if name in valid)})
        if close in _SYNONYMS:
            return f"unknown key; did you mean '{_SYNONYMS[close]}'? valid: {', '.join(sorted(valid))}"
        if close is None:
            far = nearest(key, {*_SYNONYMS, *(name for table in self._tables.values() for name in table.model_fields)})
            far = _SYNONYMS.get(far or "", far)
            if far and (homes := self._elsewhere(far, known)):
                return f"unknown key; did you mean '{far}'? It belongs {homes}"
            if not path and isinstance(self._values.get(key), Mapping):
                return f"unknown table; valid: {', '.join(sorted(valid))}; and for a phase of training: {self._no_phase(key)}"
        return f"unknown key; {suggestion(key, valid)}"

    def _no_phase(self, name: str) -> str:
        """Returns what the registry says of a phase that it does not have: those there are, and the plugins that failed."""
        try:
            return f"{self._registry.get('phase', name)}"
        except OwaeError as error:
            return str(error)

    def _elsewhere(self, key: str, known: Path) -> str:
        homes = dict.fromkeys(_place(path) for path, table in self._tables.items() if key in table.model_fields)
        return " or ".join(home for home in homes if home != _place(known))


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
        case [table, key]:
            return f"in {key} of [{table}]"
    raise ValueError(path)
