"""Prepares, locks and describes a run folder, and compares it with a continuation's config."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import owae
from owae.config.build import Built
from owae.config.config import Config
from owae.errors import TrainingError
from owae.files import clear_temporary, write_durably
from owae.registry.registry import Registry
from owae.training.options import Options

CONFIG, INFO, METRICS, CHECKPOINTS, PICTURES, LOCK = "config.toml", "run.json", "metrics.jsonl", "checkpoints", "pictures", ".lock"
FORMAT = 1


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Runs a block that writes into a run folder beside its checkpoints; if it cannot, training ends and says so.

    Raises:
        TrainingError: The disk is full, or the folder cannot be written any more.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written any more: {error}; training stops, and the newest checkpoint stays: --resume goes on from it"
        ) from error


@contextmanager
def claimed(folder: Path, config: Config, registry: Registry, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Runs the block with the folder made ready and locked against other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise TrainingError(f"the run folder {folder} cannot be made or written: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"another process is training in {folder}; choose another folder with --out") from error
        # What an interrupted write left is no file of anybody's: it must not make the folder look taken.
        clear_temporary(folder)
        _prepare(folder, config, registry, resume=resume, overwrite=overwrite)
        yield
    finally:
        os.close(lock)


def _prepare(folder: Path, config: Config, registry: Registry, *, resume: bool, overwrite: bool) -> None:
    there = [path for path in folder.iterdir() if path.name != LOCK]
    is_run = (folder / INFO).exists()
    if there and not is_run:
        raise TrainingError(f"{folder} holds other files ({there[0].name}, …) and no run; choose another folder with --out")
    if is_run and not (resume or overwrite):
        raise TrainingError(
            f"{folder} already holds a run; --resume goes on with it, --overwrite replaces it, --out names another folder"
        )
    if is_run and overwrite:
        # What marks the folder as a run goes last, so that an interrupted overwrite can be repeated.
        for path in sorted(there, key=lambda path: path.name == INFO):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if is_run and resume:
        # Read as a config is: keys that owae did not have yet when the run began stand at their defaults, old ones are renamed.
        saved = Config.from_dict(json.loads((folder / INFO).read_text())["config"], registry, source=str(folder / INFO))
        # A phase that has no checkpoint yet can still become another.
        open_phases = {name for name in {**saved.phases, **config.phases} if not any((folder / name / CHECKPOINTS).glob("*"))}
        old, new = ({key: value for key, value in jsonable(c).items() if key not in open_phases} for c in (saved, config))
        changed = _differences(old, new)
        if changed:
            raise TrainingError(f"{folder} was trained with another config; these differ: {'; '.join(changed)}")


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            if place == "train" and key in Options.resumable():
                continue
            found += _differences(old.get(key), new.get(key), f"{place}.{key}" if place else key)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            difference for i, pair in enumerate(zip(old, new, strict=True)) for difference in _differences(*pair, f"{place}[{i}]")
        ]
    return [] if old == new else [f"{place}: was {old!r}, is {new!r}"]


def jsonable(config: Config) -> dict[str, Any]:
    """Returns the effective config as JSON values."""
    return json.loads(json.dumps(config.to_dict(), default=str))


def describe(folder: Path, config: Config, registry: Registry, built: Built) -> None:
    """Writes what the run is: `run.json` and the effective config."""
    info = {
        "format": FORMAT,
        "versions": {"owae": owae.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "plugins": [{"name": name, "distribution": owner, "version": version} for name, owner, version in registry.plugins],
        "seed": config.train.seed,
        "data": {
            "shape": list(built.train.shape),
            "value_range": list(built.train.value_range),
            "train": len(built.train),
            "test": len(built.test),
        },
        "divergence": built.stack.divergence.describe(built.stack.matched_prior.shape),
        "config": jsonable(config),
    }
    # First what marks the folder as a run: whatever interrupts the rest, --resume and --overwrite then know it for one.
    write_durably(folder / INFO, json.dumps(info, indent=2) + "\n")
    write_durably(folder / CONFIG, config.to_toml())
