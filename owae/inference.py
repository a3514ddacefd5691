"""Using a stack without leaving a trace in it: evaluation mode, no gradients, and noise of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from owae.stack import Stack


@contextmanager
def evaluating(stack: Stack, seed: int = 0) -> Iterator[torch.device]:
    """A block in which a stack is used and not trained; gives the device that it is on.

    Each module's mode, the gradient mode and the state of torch's generators (the CPU's and CUDA's) are afterwards what they were
    before, so that whoever draws a picture in the middle of training does not change it. Inside, noise depends on `seed` alone.
    """
    modes = [(module, module.training) for module in stack.modules()]
    # Seeding reaches every CUDA device, so every one is to be restored; one that was never used has no state yet.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        stack.eval()
        try:
            yield stack.prior.anchor.device
        finally:
            for module, training in modes:
                module.training = training
