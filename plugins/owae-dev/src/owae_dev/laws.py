"""Tries installed components against the laws of `owae.testing`, all of them, and words the outcome."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from owae import testing
from owae.errors import ConfigError, PluginError, suggestion
from owae.hooks import ENTRY_POINTS
from owae.registry.discovery import declared
from owae.registry.options import options_model, validated
from owae.registry.registry import Entry, Registry

# Each check, and what it is given of its own when nothing is said: shapes that a component of the kind is most often used with.
CHECKS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "divergence": (testing.check_divergence, {}),
    "layer": (testing.check_layer, {"in_shape": (1, 8, 8)}),
    "cost": (testing.check_cost, {}),
    "regulariser": (testing.check_regulariser, {}),
    "prior": (testing.check_prior, {}),
    "data": (testing.check_source, {}),
}
_INSTANCES = ("divergence", "cost", "regulariser")  # their checks take an instance, the others' take the class and its options


@dataclass
class Tried:
    """What was found of one component.

    Attributes:
        interface: What it is.
        name: What it is called.
        distribution: Whose it is.
        laws: Each law, and what was found where it is broken, else nothing.
    """

    interface: str
    name: str
    distribution: str
    laws: list[tuple[str, str]] = field(default_factory=list)

    @property
    def broken(self) -> list[tuple[str, str]]:
        return [(law, found) for law, found in self.laws if found]

    def as_json(self) -> dict[str, Any]:
        laws = [{"law": law, "holds": not found, "found": found or None} for law, found in self.laws]
        return {"kind": self.interface, "name": self.name, "distribution": self.distribution, "laws": laws}

    def __str__(self) -> str:
        lines = [f"{self.interface} '{self.name}' of {self.distribution or 'this program'}"]
        for law, found in self.laws:
            lines.append(f"  {'fails' if found else 'holds'}  {' '.join(law.split())}")
            lines += [f"         found: {line}" if i == 0 else f"         {line}" for i, line in enumerate(found.splitlines())]
        count = len(self.broken)
        lines.append(f"  {count} of {len(self.laws)} laws fail" if count else f"  all {len(self.laws)} laws hold")
        return "\n".join(lines)


def components(name: str) -> list[Entry]:
    """The installed components that a name stands for: those called so, or all of a distribution or entry point.

    Raises:
        PluginError: There are none; the message says why, if a plugin failed.
    """
    registry = Registry.discover()
    found = [entry for entry in registry.entries if entry.name == name]
    found = found or [entry for entry in registry.entries if name in (entry.distribution, entry.plugin)]
    failed = [failure for failure in registry.failures if name in (failure.plugin, failure.distribution)]
    if failed and not found:
        raise PluginError(f"plugin '{name}' failed: {failed[0].reason}")
    if not found:
        names = {entry.name for entry in registry.entries} | {point.distribution for point in declared(ENTRY_POINTS)}
        raise PluginError(f"nothing installed is called '{name}'; {suggestion(name, names)}")
    checkable = [entry for entry in found if entry.interface in CHECKS]
    if not checkable:
        kinds = ", ".join(sorted({entry.interface for entry in found}))
        raise PluginError(f"'{name}' is of the kind {kinds}, which owae.testing has no laws for; it has for {', '.join(CHECKS)}")
    return checkable


def tried(entry: Entry, options: Iterable[str] = (), keywords: Iterable[str] = ()) -> Tried:
    """Tries one component against every law of its interface.

    Args:
        entry: The component.
        options: Its options as `key=value` in TOML.
        keywords: Keywords of its check, in the same form.

    Raises:
        ConfigError: An option or keyword is wrong, or one is missing that has no default.
    """
    check, given = CHECKS[entry.interface]
    chosen = given | _keywords(check, _values(keywords, "--law"))
    values = _checked_options(entry, _values(options, "--set"))
    found = Tried(entry.interface, entry.name, entry.distribution)

    def report(law: str, why: str) -> None:
        found.laws.append((law, why))

    cls: Any = entry.cls
    try:
        if entry.interface in _INSTANCES:
            check(cls(**values), **chosen, report=report)
        else:
            check(cls, **chosen, **values, report=report)
    except Exception as error:  # whatever an author's constructor raises
        found.laws.append(("It can be made from its options.", f"it raised {type(error).__name__}: {error}"))
    return found


def _values(texts: Iterable[str], option: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ConfigError(f"{option} {text}: write {option} key=value")
        try:
            values[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = value.strip()
    return values


def _checked_options(entry: Entry, values: Mapping[str, Any]) -> dict[str, Any]:
    options, problems = validated(options_model(entry.cls), values)
    if options is None:
        told = "; ".join(str(problem) for problem in problems)
        raise ConfigError(f"{entry.interface} '{entry.name}': {told} (say it with --set key=value)")
    return {name: getattr(options, name) for name in values}


def _keywords(check: Callable[..., None], values: Mapping[str, Any]) -> dict[str, Any]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(check).parameters.values())
    known = [p.name for p in parameters[1:] if p.kind in kinds and p.name != "report"]  # the first is the component
    chosen = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"--law {name}: no such keyword of {check.__name__}; {suggestion(name, known)}")
        chosen[name] = tuple(value) if isinstance(value, list) else value
    return chosen
