"""Reads tables of a config against models, and keeps every mistake until the whole file has been seen.

A key that is unknown where it stands is often right elsewhere. Only when all tables are read, and with them the options of the
components that were chosen, is it known where; so unknown keys are set aside and worded last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from owae.errors import OwaeError, Problem, nearest, suggestion
from owae.registry.options import canonical, join, shown, validated

Model = TypeVar("Model", bound=BaseModel)

TOP = ""  # the text of the table that everything is in

# What people call an option that goes by another name.
_SYNONYMS = {"learning_rate": "lr", "lr_scheduler": "schedule", "scheduler": "schedule", "optimiser": "optimizer"}


@dataclass(frozen=True)
class _Unknown:
    """An unknown key: where it stands, the table it stands in, the keys that are valid there."""

    place: str
    key: str
    table: str
    valid: frozenset[str]


@dataclass(frozen=True)
class Chosen:
    """A table that names what it is an instance of.

    Attributes:
        name: That name.
        options: The options as a model.
        values: The options as TOML values, defaults included.
        given: The options that the table itself gave.
    """

    name: str
    options: BaseModel
    values: dict[str, Any]
    given: frozenset[str]


class Reader:
    """Collects the mistakes of one config in `problems`, in the order of reading.

    Tables go by the text that a message shall use for them, as "[train]".
    """

    def __init__(self) -> None:
        self._found: list[Problem | _Unknown] = []
        self._homes: dict[str, list[str]] = {}

    @property
    def problems(self) -> list[Problem]:
        return [Problem(found.place, self._misplaced(found)) if isinstance(found, _Unknown) else found for found in self._found]

    @property
    def count(self) -> int:
        """The number of mistakes so far."""
        return len(self._found)

    def problem(self, place: str, message: str) -> None:
        """Set down a mistake."""
        # Several unknown names each come with the list of plugins that failed; once is enough.
        head, *failures = message.split("\n")
        told = {line for found in self._found if isinstance(found, Problem) for line in found.message.split("\n")}
        self._found.append(Problem(place, "\n".join([head, *(line for line in failures if line not in told)])))

    def home(self, table: str, keys: Iterable[str]) -> None:
        """Set down that these keys belong in a table."""
        for key in keys:
            homes = self._homes.setdefault(key, [])
            if table not in homes:
                homes.append(table)

    def keys(self, values: Mapping[str, Any], place: str, table: str, valid: Iterable[str]) -> dict[str, Any]:
        """The entries whose keys are valid; the others are mistakes."""
        known = frozenset(valid)
        self._found += [_Unknown(join(place, str(key)), str(key), table, known) for key in values if key not in known]
        return {key: value for key, value in values.items() if key in known}

    def table(self, value: object, place: str, example: str) -> dict[str, Any] | None:
        """The value if it is a table."""
        if isinstance(value, Mapping):
            return dict(value)
        self.problem(place, f"found {shown(value)}; it should be a table, as {example}")
        return None

    def fields(
        self, model: type[Model], values: Mapping[str, Any], place: str, table: str, also: Iterable[str] = ()
    ) -> Model | None:
        """A table of fixed keys as a model; keys in `also` are read by the caller."""
        kept = self.keys(values, place, table, {*model.model_fields, *also})
        # Keys that the model itself does not have are old ones that it understands.
        given = {key: value for key, value in kept.items() if key not in set(also) or key not in model.model_fields}
        given = given if model.__name__ == "Options" else {key: value for key, value in kept.items() if key not in set(also)}
        options, problems = validated(model, given, place)
        self._found += problems
        return options  # pyright: ignore[reportReturnType] # an instance of the model it was given

    def chosen(
        self,
        value: object,
        place: str,
        table: str,
        *,
        tag: str,
        names: Iterable[str],
        find: Callable[[str], type[BaseModel]],
        default: str | None = None,
    ) -> Chosen | None:
        """A table that names a class under `tag` and gives it options.

        Args:
            value: What stands at `place`.
            place: Where it stands.
            table: The text for it in messages.
            tag: The key that holds the name.
            names: The names there are.
            find: The options of a name; an `OwaeError` if there is no such name.
            default: The name where none is given; without it, one must be.
        """
        example = f"{{ {tag} = {shown(value) if isinstance(value, str) else '…'}, … }}"
        values = self.table(value, place, example)
        if values is None:
            return None
        name = values.pop(tag, default)
        if not isinstance(name, str):
            missing = f"is missing; {suggestion('', names)}" if name is None else f"found {shown(name)}; it should be a string"
            self.problem(join(place, tag), missing)
            return None
        try:
            model = find(name)
        except OwaeError as error:
            self.problem(join(place, tag), str(error))
            return None
        self.home(table, model.model_fields)
        kept = self.keys(values, place, table, model.model_fields)
        options, problems = validated(model, kept, place)
        self._found += problems
        if options is None or len(kept) < len(values):
            return None
        try:
            options, written = canonical(options)
        except OwaeError as error:
            self.problem(place, str(error))
            return None
        return Chosen(name, options, written, frozenset(kept))

    def _misplaced(self, unknown: _Unknown) -> str:
        key, valid = unknown.key, unknown.valid
        if homes := self._elsewhere(key, unknown.table):
            return f"unknown key; '{key}' belongs {homes}"
        close = nearest(key, {*valid, *(synonym for synonym, name in _SYNONYMS.items() if name in valid)})
        if close in _SYNONYMS:
            return f"unknown key; did you mean '{_SYNONYMS[close]}'? valid: {', '.join(sorted(valid))}"
        if close is None:
            far = nearest(key, {*self._homes, *_SYNONYMS})
            far = _SYNONYMS.get(far or "", far)
            if far and (homes := self._elsewhere(far, unknown.table)):
                return f"unknown key; did you mean '{far}'? It belongs {homes}"
        return f"unknown key; {suggestion(key, valid)}"

    def _elsewhere(self, key: str, table: str) -> str:
        homes = [home for home in self._homes.get(key, []) if home != table]
        return " or ".join("at the top of the file, before any [table]" if home == TOP else f"in {home}" for home in homes)
