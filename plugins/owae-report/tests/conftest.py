"""A trained run to draw, made once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fixtures import registry
from runs import runs

__all__ = ["registry", "runs"]


def trained(folder: Path, registry, *, images: np.ndarray | None = None, name: str = "run", **keys: object):
    """A run of the tiny stack on images, in `folder`/`name`."""
    import tiny

    from owae import Config
    from owae.run.train import train

    folder.mkdir(exist_ok=True)
    path = tiny.config(folder, images_=images)
    overrides = [f"{key}={value}" for key, value in keys.items()]
    return train(Config.load(path, registry, overrides), registry, out=folder / name)


@pytest.fixture(name="trained", scope="session")
def trained_here(registry):
    """Trains the tiny stack: `trained(folder, images=…)`."""
    return partial(trained, registry=registry)


@pytest.fixture(scope="session")
def digits(tmp_path_factory, registry):
    """Sixty grey 8×8 images in four classes, two levels."""
    return trained(tmp_path_factory.mktemp("digits"), registry, name="digits")


@pytest.fixture(scope="session")
def colours(tmp_path_factory, registry):
    """Colour images that are higher than wide."""
    images = np.random.default_rng(0).integers(0, 256, (64, 12, 8, 3), dtype=np.uint8)
    return trained(tmp_path_factory.mktemp("colours"), registry, images=images, name="colours")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keeps classifiers out of the user's cache."""
    monkeypatch.setenv("OWAE_DATA", str(tmp_path_factory.getbasetemp() / "cache"))
