"""What installed distributions declare for owae, known from their metadata without importing anything."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from owae.streams import quiet_stdout

ONLY = "OWAE_PLUGINS"  # environment variable: comma-separated distributions or entry points to load; empty for none


@dataclass(frozen=True)
class Declared:
    """An entry point: its name, and the distribution that declares it."""

    name: str
    distribution: str
    version: str
    point: metadata.EntryPoint

    def load(self) -> Any:
        """Import what it points to. Raises whatever that raises, `SystemExit` included."""
        with quiet_stdout():
            return self.point.load()

    def named_in(self, names: Iterable[str]) -> bool:
        """Whether it or its distribution is among some names, however these write a hyphen."""
        return not {_normal(self.name), _normal(self.distribution)}.isdisjoint(map(_normal, names))


def declared(group: str) -> list[Declared]:
    """The entry points of a group, by distribution and name."""
    found = []
    for point in metadata.entry_points(group=group):
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        found.append(Declared(point.name, distribution or "", version or "", point))
    return sorted(found, key=lambda one: (one.distribution, one.name))


def wanted() -> set[str] | None:
    """The names in `OWAE_PLUGINS`; None where it is not set, which means all."""
    if ONLY not in os.environ:
        return None
    return {name.strip() for name in os.environ[ONLY].split(",") if name.strip()}


def restriction() -> str:
    """Says to which plugins `OWAE_PLUGINS` restricts the program; empty where it is not set."""
    names = wanted()
    return "" if names is None else f"{ONLY} restricts plugins to: {', '.join(sorted(names)) or 'none'}"


def reason(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
