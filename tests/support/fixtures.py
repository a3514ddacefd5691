"""Fixtures that the core's tests share with plugins'.

Their imports stand inside, for what is imported before the type checker is not checked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def registry():
    """Every installed plugin's components."""
    from owae import Registry

    return Registry.discover()


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """A process that is spawned, as those that read ahead are."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="session")
def plain_registry():
    """Those without the plugins that draw and log, which take their time."""
    from owae import Registry

    return Registry.discover(["owae-layers", "owae-mmd", "owae-data"])


def maker(folder: Path, registry, *always: str):
    """Returns a function that trains the tiny stack in `folder/<name>`."""
    import tiny

    from owae import Config
    from owae.run.train import train

    def made(name: str = "run", *overrides: str, resume: bool = False, overwrite: bool = False):
        path = folder / "tiny.toml"
        if not path.exists():
            tiny.config(folder)
        config = Config.load(path, registry, [*always, *overrides])
        return train(config, registry, out=folder / name, resume=resume, overwrite=overwrite)

    return made


@pytest.fixture
def make(tmp_path: Path, registry):
    """Trains the tiny stack in `tmp_path/<name>`."""
    return maker(tmp_path, registry)


@pytest.fixture
def make_plain(tmp_path: Path, plain_registry):
    """The same undrawn."""
    return maker(tmp_path, plain_registry)


@pytest.fixture
def make_short(tmp_path: Path, plain_registry):
    """The same with two steps an epoch, undrawn."""
    return maker(tmp_path, plain_registry, "train.batch_size=29")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator:
    """Runs a command line in this process, where a process of its own would take seconds to start: exit code, stdout, stderr."""
    from owae.cli import main

    handlers, level = list(logging.root.handlers), logging.root.level

    def ran(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return exited.value.code, out, err

    yield ran
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
