"""Layers for owae: MLP."""

from owae.hooks import hookimpl


@hookimpl
def owae_components() -> list[type]:
    return []
