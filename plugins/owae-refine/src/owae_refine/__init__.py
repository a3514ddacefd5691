"""Further phases of training for owae: conditionals that learn to draw, and a fresh bottom decoder."""

from owae.hooks import hookimpl
from owae_refine.bottom import Bottom, fresh_bottom
from owae_refine.energy import EnergyScore
from owae_refine.phase import Refine, refine

__all__ = ["Bottom", "EnergyScore", "Refine", "fresh_bottom", "refine"]


@hookimpl
def owae_components() -> list[type]:
    return [EnergyScore, Refine, Bottom]
