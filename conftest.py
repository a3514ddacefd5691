"""What the tests of the core and of all plugins share: no test depends on how busy the machine is, or on the order of tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

SOURCES = (Path(__file__).parent, *Path(__file__).parent.glob("plugins/*/src"))


def modules_with_shapes() -> list[str]:
    """Names the modules that write shapes in annotations. Checking types everywhere else, too, would take a third of the tests' time."""
    return [
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for source in SOURCES
        for path in source.glob("owae*/**/*.py")
        if "jaxtyping" in path.read_text(encoding="utf-8")
    ]


if "PYTEST_XDIST_WORKER" in os.environ:  # two processes of one thread each take less time than two that share all
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Runs tests in two processes, and in this one what is named, which would wait for them to start."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


# Before anything of owae is imported, for what is imported without it is not checked.
install_import_hook(modules_with_shapes(), "typechecker.checked")

from typechecker import look_without_computing  # noqa: E402
from unignored import unignore  # noqa: E402 # which imports from owae

from owae.distributions import Distribution  # noqa: E402

look_without_computing(Distribution)
unignore()

# An example that a busy machine takes long for is no fault.
settings.register_profile("owae", deadline=None)
settings.load_profile("owae")


@pytest.fixture(autouse=True)
def same_draws_in_any_order() -> None:
    """Seeds all generators, by a number that no test uses for its data."""
    from owae.torch_state import seed_generators

    seed_generators(20_261_126)


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    """Fails a test that leaves torch another number of threads, by which sums are rounded otherwise in tests after it."""
    import torch

    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads


@pytest.fixture(autouse=True)
def no_log_of_an_earlier_command() -> Iterator[None]:
    """Puts the root logger back: a command sends its log to the stderr of its own test, which is closed afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = [h for h in root.handlers if h in handlers], level
