"""Registers the core's own components, through the same hook as every plugin's."""

from __future__ import annotations

from owae.hooks import hookimpl
from owae.model.defaults import Euclidean, SquaredEuclidean, StandardNormal


@hookimpl
def owae_components() -> list[type]:
    return [SquaredEuclidean, Euclidean, StandardNormal]
