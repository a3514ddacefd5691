"""Declares the one hook that plugins implement."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

PROJECT = "owae"
ENTRY_POINTS = "owae"  # entry-point group of component plugins
COMMANDS = "owae.commands"  # entry-point group of commands: `name = "module:typer_app_or_function"`

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def owae_components() -> Iterable[type]:  # pyright: ignore[reportReturnType] # a specification has no body
    """Returns the component classes a plugin brings: concrete subclasses of the classes in `owae.interfaces`, each with a `name`."""
