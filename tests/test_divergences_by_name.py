"""`examples/digits.toml` with every divergence that is installed, by changing one line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from owae import Config, Registry
from owae.config.build import build
from owae.training import fit

EXAMPLE = Path(__file__).parent.parent / "examples" / "digits.toml"
NAMES = Registry.discover().names("divergence")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_the_digits_train_with_it(name: str, registry: Registry, tmp_path: Path):
    (tmp_path / "digits.toml").write_text(EXAMPLE.read_text().replace('kind = "mmd"', f'kind = "{name}"'))
    built = build(Config.load(tmp_path / "digits.toml", registry), registry)
    assert built.stack.divergence.name == name
    steps = list(fit(built.stack, built.train, epochs=3, batch_size=256, seed=1))
    first, last = steps[0].objective, steps[-1].objective
    assert math.isfinite(last.loss.item())
    assert last.costs[0] < first.costs[0]


def test_the_divergences_are_those_of_the_plugins():
    assert {"mmd", "sinkhorn", "sliced-wasserstein", "max-sliced", "cramer-wold"} <= set(NAMES)
