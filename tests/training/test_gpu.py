"""Training on an accelerator; skipped where there is none. `pytest -m gpu --device cuda`."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import tiny
import torch

from owae import fit
from owae.model.stack import Stack
from owae.run import checkpoint
from owae.training.ema import load_model
from owae_layers.resnet import ResNet
from owae_mmd.mmd import MMD

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def accelerator(device: torch.device) -> torch.device:
    if device.type == "cpu":
        pytest.skip("needs --device cuda")
    return device


def images_stack(seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    bottom = ResNet((3, 8, 8), channels=2, filters=8, resample="down", output="sigmoid")
    return Stack([bottom, ResNet((2, 4, 4), channels=1, filters=8)], divergence=MMD(), weights=[0.5, 0.5])


OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "ema": 0.9, "clip_gradients": 10.0}


@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_precision_trains(device: torch.device, precision: str, compiled: bool):
    stack = images_stack()
    steps = fit(stack, tiny.images(64, (3, 8, 8)), device=str(device), precision=precision, compile=compiled, **OPTIONS)
    losses = [step.objective.loss.item() for step in steps]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in stack.parameters())


def test_a_checkpoint_goes_from_one_device_to_another(device: torch.device, tmp_path):
    """Channels last there and not here, and the same names; training goes on there as it would have."""
    stack, x = images_stack(), tiny.images(64, (3, 8, 8))
    steps = fit(stack, x, device=str(device), compile=False, **OPTIONS)
    taken = iter(steps)
    for _ in range(5):
        next(taken)
    path = checkpoint.save(tmp_path, steps.state())
    losses = [step.objective.loss.item() for step in taken]
    here = images_stack(seed=3)
    load_model(here, checkpoint.load(path))
    assert {p.device.type for p in here.parameters()} == {"cpu"}
    resumed = fit(images_stack(seed=4), x, device=str(device), compile=False, **OPTIONS)
    resumed.restore(checkpoint.load(path))
    assert [step.objective.loss.item() for step in resumed] == pytest.approx(losses, rel=1e-4)


def test_a_step_waits_for_the_device_once(device: torch.device):
    steps = iter(fit(images_stack(), tiny.images(64, (3, 8, 8)), device=str(device), compile=False, **OPTIONS))
    next(steps)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([wait for wait in waits if "synchroniz" in str(wait.message)]) <= 1
