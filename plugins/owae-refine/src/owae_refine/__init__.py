"""Phases of training for owae: a start from another run, conditionals that learn to draw, and a fresh bottom decoder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from owae.hooks import hookimpl

if TYPE_CHECKING:
    from owae_refine.bottom import Bottom, fresh_bottom
    from owae_refine.energy import EnergyScore
    from owae_refine.phase import Refine, refine

__all__ = ["Bottom", "EnergyScore", "Refine", "fresh_bottom", "refine"]

_HOMES = {"Bottom": "bottom", "fresh_bottom": "bottom", "EnergyScore": "energy", "Refine": "phase", "refine": "phase"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for: `owae --help` lists this plugin's command without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'owae_refine' has no attribute '{name}'")
    return getattr(import_module(f"owae_refine.{_HOMES[name]}"), name)


@hookimpl
def owae_components() -> list[type]:
    from owae_refine.bottom import Bottom
    from owae_refine.energy import EnergyScore
    from owae_refine.phase import Refine
    from owae_refine.start import Start

    return [EnergyScore, Refine, Bottom, Start]
