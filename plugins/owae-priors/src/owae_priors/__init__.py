"""Priors on the deepest level, beside the core's standard normal: a mixture of Gaussians, the uniform sphere, Laplace, classes.

Divergences with a closed form against the standard normal (`mmd`, the sliced ones, `sigreg`) draw from these instead.
"""

from owae.hooks import hookimpl
from owae_priors.classes import ClassConditional
from owae_priors.fixed import Laplace, UniformSphere
from owae_priors.mixture import GaussianMixture

__all__ = ["ClassConditional", "GaussianMixture", "Laplace", "UniformSphere"]


@hookimpl
def owae_components() -> list[type]:
    return [ClassConditional, GaussianMixture, Laplace, UniformSphere]
