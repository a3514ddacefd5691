"""Names that plugins add to `owae` and to a `Run`: entry points of the group `owae.names`, imported when they are first used.

`load` adds `owae.load`; `Run.evaluate`, a function of a run, becomes a run's method, and a class of a run, an attribute made with it.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from owae.errors import PluginError
from owae.registry.discovery import declared, reason, wanted

GROUP = "owae.names"


@cache
def _declared(restricted: frozenset[str] | None) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for point in declared(GROUP):
        if restricted is None or point.named_in(restricted):
            found.setdefault(point.name, []).append(point)
    return found


def extension(name: str) -> Any | None:
    """Returns what a plugin has declared under a name, or None where none has.

    Raises:
        PluginError: It cannot be imported, or several plugins claim it.
    """
    names = wanted()
    points = _declared(None if names is None else frozenset(names)).get(name)
    if points is None:
        return None
    if len(points) > 1:
        raise PluginError(f"'{name}' is claimed by {' and '.join(repr(point.distribution) for point in points)}; uninstall one")
    try:
        return points[0].load()
    except Exception as error:
        raise PluginError(f"'{name}' of '{points[0].distribution}' cannot be used: {reason(error)}") from error


def bound(instance: Any, name: str) -> Any:
    """Returns what a plugin adds to an instance's class under a name.

    Raises:
        AttributeError: No plugin adds it.
    """
    kind = type(instance).__name__
    value = None if name.startswith("__") else extension(f"{kind}.{name}")
    if value is None:
        raise AttributeError(f"'{kind}' has no attribute '{name}'; a plugin that adds it may not be installed")
    return value(instance) if isinstance(value, type) else partial(value, instance)
