"""Using a model without leaving a trace in it: evaluation mode, no gradients, and noise of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from owae.model.stack import Stack


@contextmanager
def evaluating(stack: Stack, seed: int = 0) -> Iterator[torch.device]:
    """Runs the block with a stack in use and not in training; gives the device that it is on.

    Each module's mode, the gradient mode and the state of torch's generators (the CPU's and the device's) are afterwards what they
    were before, so that whoever draws a picture in the middle of training does not change it. Inside, noise depends on `seed` alone.
    """
    device = stack.device
    with torch.no_grad(), own_randomness(seed, device), evaluation_mode(stack):
        yield device


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from a seed within the block; the generators of the CPU and of the device are then put back."""
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            yield
        return
    module = torch.get_device_module(device)
    index = module.current_device() if device.index is None else device.index
    with torch.random.fork_rng(devices=[index], device_type=device.type), module.device(index):
        torch.default_generator.manual_seed(seed)
        module.manual_seed(seed)
        yield


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """The modules and all below them in evaluation mode within the block, then each as it was."""
    modes = {each: each.training for module in modules for each in module.modules()}
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for each, training in modes.items():
            each.training = training
