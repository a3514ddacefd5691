"""Uses a model without changing it: evaluation mode, no gradients, and noise of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from owae.model.stack import Stack
from owae.torch_state import evaluation_mode, own_randomness


@contextmanager
def evaluating(stack: Stack, seed: int = 0) -> Iterator[torch.device]:
    """Runs the block with a stack in use and not in training; gives the device that it is on.

    Modes, the gradient mode and the state of the generators (Python's, numpy's, torch's for the CPU and the device) are put back, so that
    a picture drawn in the middle of training does not change it. Inside, noise depends on `seed` alone.
    """
    device = stack.device
    with torch.no_grad(), own_randomness(seed, device), evaluation_mode(stack):
        yield device
