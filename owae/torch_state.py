"""Puts back what a block changes (random numbers, modules' modes, determinism), and keeps out what the program around it has set."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from owae.component_checks import GENERATORS
from owae.errors import TrainingError

CPU = torch.device("cpu")


def seed_generators(*key: int) -> None:
    """Seeds Python's, numpy's and torch's generators of the CPU with these numbers, mixed."""
    own, numpys, torchs = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(own)
    np.random.seed(numpys)
    torch.default_generator.manual_seed(torchs)  # torch.manual_seed would reach for GPUs too


@contextmanager
def generators_kept() -> Iterator[None]:
    """Runs the block, while no other thread does, then puts Python's, numpy's and torch's generators of the CPU back."""
    with GENERATORS:
        kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
            torch.set_rng_state(kept[2])


@contextmanager
def own_terms(device: torch.device, *, gradients: bool = False) -> Iterator[None]:
    """Runs the block as if nothing around it were switched on: tensors are made on the CPU unless said otherwise, in no autocast.

    Args:
        device: Whose autocast.
        gradients: Whether the block is outside `no_grad` and `inference_mode` too, and alone in drawing random numbers: for training.
    """
    with ExitStack() as entered:
        if gradients:
            entered.enter_context(GENERATORS)
            entered.enter_context(torch.inference_mode(False))
            entered.enter_context(torch.enable_grad())
        if torch.is_autocast_enabled(device.type):
            entered.enter_context(torch.autocast(device.type, enabled=False))
        if torch.get_default_device().type != "cpu":
            entered.enter_context(CPU)
        yield


@contextmanager
def own_randomness(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Runs the block with random numbers from a seed; the generators of the CPU and of the device are then put back."""
    with generators_kept():
        seed_generators(seed)
        torch.default_generator.manual_seed(seed)
        if device.type == "cpu":
            yield
            return
        module = torch.get_device_module(device)
        index = module.current_device() if device.index is None else device.index
        with torch.random.fork_rng(devices=[index], device_type=device.type), module.device(index):
            module.manual_seed(seed)
            yield


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Runs the block with the modules and all below them in evaluation mode, then puts each back."""
    modes = {each: each.training for module in modules for each in module.modules()}
    # A stack in use is there already, and going through its modules takes longer than small ones compute.
    if any(modes.values()):
        for module in modules:
            module.eval()
    try:
        yield
    finally:
        for each, training in modes.items():
            if each.training != training:
                each.training = training


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Runs the block with deterministic algorithms only, if wanted; `TrainingError` if something in the model has none."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, before its first product
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" in str(error):
            raise TrainingError(f"deterministic = true: {str(error).splitlines()[0]}; deterministic = false would work") from error
        raise
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark
