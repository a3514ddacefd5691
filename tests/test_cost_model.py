"""What `docs/scaling.md` says of the CelebA stack is what its config gives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from owae import Config, Registry
from owae.config.build import build_stack

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "scaling.md").read_text()


@pytest.fixture(scope="module")
def model() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cost_model", ROOT / "benchmarks" / "cost_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cost_model"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_documents_numbers_are_the_configs(model: ModuleType, registry: Registry):
    stack = build_stack(Config.load(model.CONFIG, registry), registry, model.SHAPE, model.RANGE)
    counts = model.counted(stack)
    assert f"**{counts.forward / 1e9:.2f} GFLOP forward, {counts.step / 1e9:.2f} GFLOP a training\nstep" in TEXT
    assert f"{counts.parameters:,} parameters" in TEXT
    assert f"{counts.convolutions} convolutions, {counts.norms} batch norms" in TEXT
    rows = [line for line in TEXT.splitlines() if line.startswith(("| fp32", "| bf16"))]
    assert len(rows) == 6
    for row in rows:
        name, devices, _, *milliseconds = (cell.strip() for cell in row.strip("|").split("|"))
        times = model.parts(counts, model.MACHINES[name], int(devices), 64)
        assert milliseconds[:5] == [f"{1e3 * seconds:.1f}" for seconds in (*times.values(), sum(times.values()))]


def test_the_count_is_the_formula(model: ModuleType, registry: Registry):
    """Level 1's encoder by hand: 2·k²·a·b·h·w a convolution."""
    from owae.model.stack import Stack
    from owae_layers.resnet import ResNet
    from owae_mmd.mmd import MMD

    bottom = ResNet((3, 64, 64), channels=8, filters=64, filter_size=7, resample="down", output="tanh")
    counts = model.counted(Stack([bottom], divergence=MMD(), weights=[1.0]))
    up = 2 * 49 * (64**2 * (3 * 64 + 64 * 64) + 32**2 * (64 * 128 + 3 * 128 + 128 * 16))
    down = 2 * 49 * (32**2 * (8 * 32 + 8 * 64) + 64**2 * (32 * 64 + 64 * 64 + 64 * 3))
    assert counts.forward == up + down
    assert up / 1e9 == pytest.approx(2.79, abs=0.005)
