"""Refinement for owae: a second phase of training, in which the conditionals of a trained stack learn to draw."""

from owae.hooks import hookimpl
from owae_refine.energy import EnergyScore
from owae_refine.phase import Refine, refine

__all__ = ["EnergyScore", "Refine", "refine"]


@hookimpl
def owae_components() -> list[type]:
    return [EnergyScore, Refine]
