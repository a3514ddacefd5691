"""Training: an iterator of optimiser steps on the objective of a stack.

May import: errors, distributions, numerics, interfaces, model, registry, data, parallel.
Start reading at `loop.py`: `Fit` is the loop and its state.
"""

from owae.training.loop import Fit, Step, fit

__all__ = ["Fit", "Step", "fit"]
