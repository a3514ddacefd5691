"""Runs to explore, trained once."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures import registry

__all__ = ["registry"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, registry):
    """Trains the tiny stack on images or a table, and makes its weights larger, for two epochs leave its planes the same all over."""
    import tiny

    from owae import Config
    from owae.run.opened import open_run
    from owae.run.train import train

    def made(array: np.ndarray | None = None):
        folder = tmp_path_factory.mktemp("explored")
        train(Config.load(tiny.config(folder, images_=array), registry), registry, out=folder / "run")
        run = open_run(folder / "run", registry)
        for layer in run.model.layers:
            layer.decoder[-1].weight.data *= 12  # pyright: ignore # a module's attributes
        return run

    return made


@pytest.fixture(scope="session")
def pictures(trained):
    """Colour pictures, higher than wide, in four classes."""
    return trained(np.random.default_rng(0).integers(0, 256, (64, 12, 8, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def table(trained):
    """A table of four columns."""
    return trained(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
