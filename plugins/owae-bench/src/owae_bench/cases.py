"""Lists what there is to measure: every divergence of a registry, once a backend."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from owae.errors import ConfigError, PluginError, suggestion
from owae.registry.options import options_model, validated
from owae.registry.registry import Entry, Registry

EXACT = ("dense", "tensorized")  # backends that do the plain sum, by the names in use: references for the others


@dataclass(frozen=True)
class Case:
    """One divergence with its options.

    Attributes:
        distribution: The distribution that brings it.
        plugin: The entry point within that.
        name: Its name.
        options: What differs from its defaults, the backend included.
        reference: The options of the same mathematics done plainly.
        flaw: Why it cannot be made, if so.
    """

    distribution: str
    plugin: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)
    flaw: str = ""

    @property
    def backend(self) -> str:
        """The backend, empty where it has no choice of one."""
        return str(self.options.get("backend", ""))

    @property
    def label(self) -> str:
        """Name and options, as `mmd backend=tiled`."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


def backends_of(cls: type) -> tuple[str, ...]:
    """The backends that a class lets a config choose from: the values of an option `backend` that is a `Literal`."""
    option = options_model(cls).model_fields.get("backend")
    if option is None:
        return ()
    members = (option.annotation, *typing.get_args(option.annotation))
    return tuple(
        value
        for member in members
        if typing.get_origin(member) is Literal
        for value in typing.get_args(member)
        if value is not None
    )


def cases(registry: Registry, wanted: Sequence[str] = (), backends: Iterable[str] = ()) -> list[Case]:
    """The cases to measure.

    Args:
        registry: Where the divergences are.
        wanted: Names, or tables as a config has them, `{ kind = "mmd", estimator = "closed-form" }`; all with their defaults if
            empty.
        backends: The backends to measure, of those divergences that have a choice; all if empty.

    Raises:
        ConfigError: A table that is not one, an option that does not exist, a backend that none of them has.
        PluginError: An unknown name.
    """
    found: list[tuple[Entry, dict[str, Any]]] = []
    if wanted:
        for text in wanted:
            name, options = _parse(text)
            found += [(entry, options) for entry in _entries(registry, name)]
    else:
        found = [(entry, {}) for entry in registry.entries if entry.interface == "divergence"]
        found.sort(key=lambda pair: (pair[0].name, pair[0].distribution))
    known = {backend for entry, _ in found for backend in backends_of(entry.cls)}
    chosen = set(backends)
    for backend in chosen - known:
        raise ConfigError(f"none of these divergences has a backend '{backend}'; {suggestion(backend, known)}")
    return [case for entry, options in found for case in _expand(entry, options, chosen)]


def _expand(entry: Entry, options: dict[str, Any], chosen: set[str]) -> list[Case]:
    """One case a backend, or one where there is no choice."""
    available = backends_of(entry.cls)
    _, problems = validated(options_model(entry.cls), options, entry.name)
    flaw = "; ".join(map(str, problems))
    if flaw and options:
        raise ConfigError(problems)
    if not available or "backend" in options:
        own: list[dict[str, Any]] = [options]
    else:
        own = [options | {"backend": backend} for backend in available if not chosen or backend in chosen]
    plain = next(({"backend": name} for name in EXACT if name in available), {})
    return [Case(entry.distribution, entry.plugin, entry.name, each, each | plain, flaw) for each in own]


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    if not text.lstrip().startswith("{"):
        return text.strip(), {}
    try:
        table = tomllib.loads(f"divergence = {text}")["divergence"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"'{text}' is not a table of TOML ({error}); write it as in a config") from error
    if not isinstance(table.get("kind"), str):
        raise ConfigError(f"'{text}' has no kind; write it as in a config: {{ kind = \"mmd\", … }}")
    return table.pop("kind"), table


def _entries(registry: Registry, name: str) -> list[Entry]:
    found = [entry for entry in registry.entries if (entry.interface, entry.name) == ("divergence", name)]
    if not found:
        raise PluginError(f"no divergence is called '{name}'; {suggestion(name, registry.names('divergence'))}")
    return found
