"""Finds what installed distributions declare for owae, from their metadata, and imports it when it is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from typing import Any

from owae.errors import PluginError
from owae.streams import quiet_stdout

ONLY = "OWAE_PLUGINS"  # environment variable: comma-separated distributions or entry points to load; empty for none
# Entry-point group of names that plugins add, imported when they are first used: `load` adds `owae.load`; `Run.evaluate`, a function of a
# run, becomes a run's method, and a class of a run, an attribute made with it.
NAMES = "owae.names"


@dataclass(frozen=True)
class Declared:
    """An entry point: its name, and the distribution that declares it."""

    name: str
    distribution: str
    version: str
    point: metadata.EntryPoint

    def named_in(self, names: Iterable[str]) -> bool:
        """Tells whether it or its distribution is among some names, whether these are written with hyphens or underscores."""
        return not {_normal(self.name), _normal(self.distribution)}.isdisjoint(map(_normal, names))


def declared(group: str) -> list[Declared]:
    """Lists the entry points of a group, by distribution and name."""
    found = []
    for point in metadata.entry_points(group=group):
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        found.append(Declared(point.name, distribution or "", version or "", point))
    return sorted(found, key=lambda one: (one.distribution, one.name))


def wanted() -> set[str] | None:
    """Returns the names in `OWAE_PLUGINS`; None where it is not set, which means all."""
    if ONLY not in os.environ:
        return None
    return {name.strip() for name in os.environ[ONLY].split(",") if name.strip()}


def restriction() -> str:
    """Says to which plugins `OWAE_PLUGINS` restricts the program; empty where it is not set."""
    names = wanted()
    return "" if names is None else f"{ONLY} restricts plugins to: {', '.join(sorted(names)) or 'none'}"


def available(group: str) -> dict[str, list[Declared]]:
    """Returns the entry points of a group by name; `OWAE_PLUGINS` restricts all but owae's own."""
    names = wanted()
    found: dict[str, list[Declared]] = {}
    for point in declared(group):
        if names is None or point.distribution == "owae" or point.named_in(names):
            found.setdefault(point.name, []).append(point)
    return found


@contextmanager
def plugin_code(failing: str = "") -> Iterator[None]:
    """Runs a block that calls a plugin's code, with stdout going to stderr.

    Raises:
        PluginError: It raises anything, be it `SystemExit`; the message is the error in one line, after `failing`.
    """
    try:
        with quiet_stdout():
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may even call sys.exit while it is imported
        raise PluginError(failing + reason(error)) from error


def load(what: str, owners: Sequence[Declared], make: Callable[[Any], Any] = lambda target: target) -> Any:
    """Imports what one distribution has declared, and makes of it what is wanted.

    Raises:
        PluginError: That fails, or several distributions have declared it; `what` is what the message calls it.
    """
    if len(owners) > 1:
        raise clash_error(what, [owner.distribution for owner in owners])
    with plugin_code(f"{what} of '{owners[0].distribution}' cannot be used: "):
        return make(owners[0].point.load())


def clash_error(what: str, owners: Iterable[str]) -> PluginError:
    """Makes the error for what several distributions have declared."""
    claims = " and ".join(f"'{owner}'" for owner in owners)
    return PluginError(f"{what} is claimed by {claims}; uninstall one, or set {ONLY} to the plugins you want")


def reason(error: BaseException) -> str:
    """Returns an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _declared(restriction: str | None) -> dict[str, list[Declared]]:
    return available(NAMES)


def extension(name: str) -> Any | None:
    """Returns what a plugin has declared under a name, or None; `PluginError` if it cannot be imported, or several claim it."""
    points = _declared(os.environ.get(ONLY)).get(name)
    return None if points is None else load(f"'{name}'", points)


def bound(instance: Any, name: str) -> Any:
    """Returns what a plugin adds to an instance's class under a name; `AttributeError` if none does."""
    kind = type(instance).__name__
    value = None if name.startswith("__") else extension(f"{kind}.{name}")
    if value is None:
        raise AttributeError(f"'{kind}' has no attribute '{name}'; a plugin that adds it may not be installed")
    return value(instance) if isinstance(value, type) else partial(value, instance)
