"""owae: deep-latent hierarchies by stacking Wasserstein autoencoders.

Names are imported when first used, so that `owae --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from owae.config.build import Built, build
    from owae.config.config import Config
    from owae.distributions import Dirac, Distribution, Gaussian
    from owae.errors import ConfigError, DataError, OwaeError, PluginError, TrainingError
    from owae.hooks import hookimpl
    from owae.interfaces import Component, Cost, DataSource, Divergence, LatentLayer, Observer, Phase, Prior, Regulariser, Shape
    from owae.model.defaults import Ancestral, Euclidean, SquaredEuclidean, StandardNormal
    from owae.model.objective import Objective
    from owae.model.stack import Level, Stack
    from owae.registry.registry import Registry
    from owae.run.opened import Run, open_run
    from owae.training import fit

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
        from owae.registry.discovery import extension

        value = None if name.startswith("_") else extension(name)
        if value is None:
            raise AttributeError(f"module 'owae' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
