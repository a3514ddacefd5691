"""Options that every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where tests marked gpu run")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device of tests marked `gpu`; they are skipped where it is not there."""
    name = str(request.config.getoption("--device"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(name)


@pytest.fixture(scope="session")
def registry():
    """Every installed plugin's components. Imports stand inside, for what is imported before the type checker is not checked."""
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
