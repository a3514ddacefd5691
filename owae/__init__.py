"""owae: deep-latent hierarchies by stacking Wasserstein autoencoders.

Names are imported when first used, so that `owae --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from owae.config.build import Built as Built
    from owae.config.build import build as build
    from owae.config.config import Config as Config
    from owae.distributions import Dirac as Dirac
    from owae.distributions import Distribution as Distribution
    from owae.distributions import Gaussian as Gaussian
    from owae.errors import ConfigError as ConfigError
    from owae.errors import DataError as DataError
    from owae.errors import OwaeError as OwaeError
    from owae.errors import PluginError as PluginError
    from owae.errors import TrainingError as TrainingError
    from owae.hooks import hookimpl as hookimpl
    from owae.interfaces import Component as Component
    from owae.interfaces import Cost as Cost
    from owae.interfaces import DataSource as DataSource
    from owae.interfaces import Divergence as Divergence
    from owae.interfaces import LatentLayer as LatentLayer
    from owae.interfaces import Observer as Observer
    from owae.interfaces import Phase as Phase
    from owae.interfaces import Prior as Prior
    from owae.interfaces import Regulariser as Regulariser
    from owae.interfaces import Shape as Shape
    from owae.model.defaults import Ancestral as Ancestral
    from owae.model.defaults import Euclidean as Euclidean
    from owae.model.defaults import SquaredEuclidean as SquaredEuclidean
    from owae.model.defaults import StandardNormal as StandardNormal
    from owae.model.objective import Objective as Objective
    from owae.model.stack import Level as Level
    from owae.model.stack import Stack as Stack
    from owae.registry.registry import Registry as Registry
    from owae.run.opened import Run as Run
    from owae.run.opened import open_run as open_run
    from owae.training import fit as fit

_HOMES = {
    "config.build": ["build", "Built"],
    "config.config": ["Config"],
    "distributions": ["Dirac", "Distribution", "Gaussian"],
    "errors": ["ConfigError", "DataError", "OwaeError", "PluginError", "TrainingError"],
    "hooks": ["hookimpl"],
    "interfaces": [
        "Component",
        "Cost",
        "DataSource",
        "Divergence",
        "LatentLayer",
        "Observer",
        "Phase",
        "Prior",
        "Regulariser",
        "Shape",
    ],
    "model.defaults": ["Ancestral", "Euclidean", "SquaredEuclidean", "StandardNormal"],
    "model.objective": ["Objective"],
    "model.stack": ["Level", "Stack"],
    "registry.registry": ["Registry"],
    "run.opened": ["Run", "open_run"],
    "training": ["fit"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll] # lazy names

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"owae.{_HOME[name]}"), name)
    else:
        from owae.registry.extensions import extension

        value = None if name.startswith("_") else extension(name)
        if value is None:
            raise AttributeError(f"module 'owae' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
