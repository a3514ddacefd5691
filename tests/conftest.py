"""Options that every test shares."""

from __future__ import annotations

import pytest
import torch
from fixtures import command, make, make_plain, make_short, plain_registry, registry

__all__ = ["command", "make", "make_plain", "make_short", "plain_registry", "registry"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where tests marked gpu run")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device of tests marked `gpu`; they are skipped where it is not there."""
    name = str(request.config.getoption("--device"))
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(name)
