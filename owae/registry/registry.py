"""Finds components: owae's own defaults and every installed plugin's, all through one hook.

A plugin that cannot be imported, or whose class breaks the contract, is recorded in `failures` and stops nothing else. Two
components of one kind and name are both kept; asking for that name is an error that names the owners. There is no global
registry: a program makes one and passes it on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from owae import __version__, hooks
from owae.errors import PluginError, nearest, suggestion
from owae.hooks import COMMANDS, ENTRY_POINTS, PROJECT
from owae.registry import defaults
from owae.registry.discovery import ONLY, clash_error, declared, plugin_code, reason, wanted
from owae.registry.options import breach


@dataclass(frozen=True)
class Entry:
    """One component: its interface ("layer", "cost", …), name and class, and the plugin that brought it."""

    interface: str
    name: str
    cls: type
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Failure:
    """A plugin, or a part of one, that could not be used, and why."""

    plugin: str
    distribution: str
    version: str
    reason: str


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hooks)
    return manager


class Registry:
    """The components that a program can use. A new registry holds owae's defaults; `discover` adds the installed plugins."""

    def __init__(self) -> None:
        self._manager = _manager()
        self.entries: list[Entry] = []
        self.failures: list[Failure] = []
        self.plugins: list[tuple[str, str, str]] = []
        self.register(defaults, name="defaults", distribution="owae", version=__version__)

    @classmethod
    def discover(cls, only: Iterable[str] | None = None) -> Registry:
        """Returns a registry of every installed plugin, or of those named.

        Args:
            only: Distributions or entry points to load; by default those listed in the environment variable `OWAE_PLUGINS`,
                and all where it is not set.
        """
        registry = cls()
        names = wanted() if only is None else {name.strip() for name in only if name.strip()}
        points = declared(ENTRY_POINTS)
        for found in points:
            if names is not None and not found.named_in(names):
                continue
            try:
                with plugin_code():
                    module = found.point.load()
            except PluginError as error:
                registry.failures.append(Failure(found.name, found.distribution, found.version, str(error)))
            else:
                registry.register(module, name=found.name, distribution=found.distribution, version=found.version)
        points += declared(COMMANDS)
        for name in sorted(names or ()):
            if not any(point.named_in([name]) for point in points):
                close = nearest(name, {known for point in points for known in (point.name, point.distribution)})
                hint = f"; did you mean '{close}'?" if close else ""
                registry.failures.append(Failure(name, name, "", f"named in {ONLY}, but not installed{hint}"))
        return registry

    def register(self, plugin: object, *, name: str, distribution: str = "", version: str = "") -> None:
        """Adds the components of a plugin: a module or object with an `owae_components` hook."""
        self.plugins.append((name, distribution, version))

        def fail(why: str) -> None:
            self.failures.append(Failure(name, distribution, version, why))

        try:
            self._manager.register(plugin)
        except ValueError as error:
            return fail(str(error))
        except pluggy.PluginValidationError as error:
            return fail(f"hook does not fit its specification: {reason(error)}")
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            return fail("has no hook: decorate a function owae_components() with owae.hookimpl")
        for hook in callers:
            if not hook.has_spec():
                fail(f"unknown hook '{hook.name}'; {suggestion(hook.name, ['owae_components'])}")
        if not any(hook.has_spec() for hook in callers):
            return None
        alone = _manager()  # one that knows this plugin alone, so that a failure is known to be its own
        alone.register(plugin)
        try:
            with plugin_code("owae_components() failed: "):
                results = alone.hook.owae_components()
                classes = [cls for result in results for cls in result]
        except PluginError as error:
            return fail(str(error))
        if not results:  # pluggy leaves None out
            return fail("owae_components() gave None; a list of classes would work")
        for cls in classes:
            if why := breach(cls):
                fail(why)
            elif all(entry.cls is not cls for entry in self.entries):
                self.entries.append(Entry(cls.interface, cls.name, cls, name, distribution, version))
        return None

    def names(self, interface: str) -> list[str]:
        """Lists the names of an interface's components, sorted."""
        return sorted({entry.name for entry in self.entries if entry.interface == interface})

    def get(self, interface: str, name: str) -> type:
        """Returns the class of a component.

        Raises:
            PluginError: No such name (the message gives the nearest one and says which plugins failed), or two owners claim it.
        """
        found = [entry for entry in self.entries if (entry.interface, entry.name) == (interface, name)]
        if len(found) == 1:
            return found[0].cls
        if found:
            raise clash_error(f"{interface} '{name}'", [entry.distribution or entry.plugin for entry in found])
        elsewhere = [entry.interface for entry in self.entries if entry.name == name]
        hint = f" ('{name}' is a {elsewhere[0]})" if elsewhere else ""
        failed = "".join(f"\n  plugin '{f.plugin}' of {f.distribution or 'this program'} failed: {f.reason}" for f in self.failures)
        raise PluginError(f"no {interface} is called '{name}'{hint}; {suggestion(name, self.names(interface))}{failed}")

    def create(self, interface: str, name: str, /, *engine: Any, **options: Any) -> Any:
        """Makes a component, from the engine's arguments and its options."""
        return self.get(interface, name)(*engine, **options)

    def clashes(self) -> dict[tuple[str, str], list[Entry]]:
        """Returns the components whose interface and name have more than one owner."""
        owners: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            owners.setdefault((entry.interface, entry.name), []).append(entry)
        return {key: entries for key, entries in owners.items() if len(entries) > 1}
