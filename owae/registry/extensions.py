"""Names that plugins add to `owae` and to a `Run`: entry points of the group `owae.names`, imported when they are first used.

`load` adds `owae.load`; `Run.evaluate`, a function of a run, becomes a run's method, and a class of a run, an attribute made with it.
"""

from __future__ import annotations

import os
from functools import cache, partial
from typing import Any

from owae.registry.discovery import ONLY, Declared, available, load

GROUP = "owae.names"


@cache
def _declared(restriction: str | None) -> dict[str, list[Declared]]:
    return available(GROUP)


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
