"""Fixtures that the core's tests share with plugins'.

Their imports stand inside, for what is imported before the type checker is not checked.
"""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def registry():
    """Every installed plugin's components."""
    from owae import Registry

    return Registry.discover()


@pytest.fixture
def make(tmp_path: Path, registry):
    """Trains the tiny stack in `tmp_path/<name>`."""

    import tiny

    from owae import Config
    from owae.run.train import train

    def made(name: str = "run", *overrides: str, resume: bool = False, overwrite: bool = False):
        path = tmp_path / "tiny.toml"
        if not path.exists():
            tiny.config(tmp_path)
        config = Config.load(path, registry, overrides)
        return train(config, registry, out=tmp_path / name, resume=resume, overwrite=overwrite)

    return made
