"""Starts, resumes or joins a sweep."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from owae.errors import TrainingError
from owae.files import write_durably
from owae.registry.registry import Registry
from owae_sweep.search import Search, default_storage
from owae_sweep.space import read
from owae_sweep.worker import watch, work

logger = logging.getLogger(__name__)

ABOUT = "sweep.json"


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"the sweep's folder {folder} cannot be made or written: {error}") from error


def start(
    config: Path,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    workers: int = 1,
    storage: str | None = None,
    name: str | None = None,
    resume: bool = False,
    heartbeat: int = 15,
    index: int = 0,
) -> Path:
    """Runs a sweep to its end and returns its folder.

    Args:
        config: The TOML file.
        overrides: Changes of the config that hold at every point, as `train.epochs=3`.
        out: The sweep's folder.
        workers: Processes; one works in this process.
        storage: The database's URL; SQLite in the folder unless given.
        name: The study's name in it.
        resume: Whether a sweep that is in the folder is gone on with.
        heartbeat: Seconds between the signs of life of a worker.
        index: Which of several workers this one is.

    Raises:
        ConfigError: The config or the space has mistakes; then nothing has been started.
        TrainingError: The folder is taken, or the database cannot be used.
        InterruptionError: A signal.
    """
    registry = Registry.discover()
    sweep, base = read(config, overrides, registry)
    folder = (out or Path("sweeps") / config.stem).absolute()
    if (folder / ABOUT).exists() and not (resume or storage):
        raise TrainingError(f"{folder} already holds a sweep; --resume goes on with it, --out names another folder")
    if index == 0:
        for caution in sweep.cautions():
            logger.warning("%s", caution)
    url, called = storage or default_storage(folder), name or config.stem
    description = json.dumps(
        {"config": base.values, "overrides": list(overrides), "sweep": sweep.model_dump(mode="json")}, sort_keys=True
    )
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    search = Search(sweep, url, called, description, heartbeat=heartbeat, index=index)
    with contextlib.closing(search):
        # After the database: whoever finds this file and reads the sweep must not be making the tables at the same time.
        with _writing(folder):
            about = {"name": called, "storage": url, "config": str(config.absolute())}
            write_durably(folder / ABOUT, json.dumps(about, indent=2) + "\n")
        search.fill()
        if workers == 1:
            work(sweep, base, search, folder)
        else:
            arguments = ["sweep", "run", str(config), "--out", str(folder), "--storage", url, "--name", called, "--resume"]
            arguments += ["--heartbeat", str(heartbeat), *(part for text in overrides for part in ("--set", text))]
            watch(arguments, workers, search)
    return folder
