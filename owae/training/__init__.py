"""Training: an iterator of optimiser steps on the objective of a stack.

May import: the files of owae itself, model, registry, data, parallel.
Start reading at `loop.py`: `Fit` is the loop and its state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from owae.training.loop import Fit, Step, fit

__all__ = ["Fit", "Step", "fit"]


def __getattr__(name: str) -> Any:
    """Imports the loop when it is asked for: it brings Fabric, which takes more than a second, and reading a config needs none."""
    if name not in __all__:
        raise AttributeError(f"module 'owae.training' has no attribute '{name}'")
    from owae.training import loop

    return getattr(loop, name)
