"""Locks a run folder, compares the run in it with a continuation's config and data, and prepares it for training."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

import owae
from owae.config.build import Built
from owae.config.config import Config
from owae.errors import DataError, TrainingError
from owae.files import clear_temporary, delete_all, is_temporary, write_durably
from owae.registry.problems import join
from owae.registry.registry import Registry
from owae.run.identity import changes, identity, locations, misfits
from owae.training.options import Options

logger = logging.getLogger(__name__)

CONFIG, INFO, METRICS, CHECKPOINTS, PICTURES, LOCK = "config.toml", "run.json", "metrics.jsonl", "checkpoints", "pictures", ".lock"
FORMAT = 1


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Runs a block that writes into a run folder beside its checkpoints; a `TrainingError` if the disk is full or the folder read-only."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written any more: {error}; training stops, and the newest checkpoint stays: --resume goes on from it"
        ) from error


@contextmanager
def locked_folder(
    folder: Path, config: Config, registry: Registry, built: Built, *, resume: bool, overwrite: bool
) -> Iterator[Callable[[], None]]:
    """Runs the block with a run folder locked against other processes, and found fit to train in.

    Yields:
        A function that prepares it, to be called when all else has been checked: until then nothing of a run in it is touched.

    Raises:
        TrainingError: It cannot be written, another process trains in it, it holds other files or another run.
        DataError: The run in it was trained on other data.
    """
    _refuse_other_files(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise TrainingError(f"the run folder {folder} cannot be made or written: {error}") from error
    try:
        _lock(lock, folder)
        _refuse_other_files(folder)
        data = identity({"train": built.train, "test": built.test})
        if (folder / INFO).exists():
            if not (resume or overwrite):
                raise TrainingError(
                    f"{folder} already holds a run; --resume goes on with it, --overwrite replaces it, --out names another folder"
                )
            if resume:
                _require_same(folder, config, registry, data)
        yield partial(_make_ready, folder, config, registry, built, data, overwrite)
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path) -> None:
    """Locks an open file against other processes, as long as it is open; warns where the system or the file system has no locks."""
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise TrainingError(f"another process is training in {folder}; choose another folder with --out") from error
        logger.warning("%s cannot be locked (%s): see to it that no other process trains in it", folder, error)


def _files(folder: Path) -> Iterator[Path]:
    """Lists all files in a folder and those within it, but for the lock."""
    return (path for path in folder.rglob("*") if path != folder / LOCK and (path.is_symlink() or not path.is_dir()))


def _refuse_other_files(folder: Path) -> None:
    """Raises a `TrainingError` if a folder holds files of something else than a run."""
    # What an interrupted write left is no file of anybody's: it must not make the folder look taken.
    other = None if (folder / INFO).exists() else next((path for path in _files(folder) if not is_temporary(path)), None)
    if other is not None:
        name = other.relative_to(folder)
        raise TrainingError(f"{folder} holds other files ({name}, …) and no run; choose another folder with --out")


def _require_same(folder: Path, config: Config, registry: Registry, data: dict[str, Any]) -> None:
    """Raises an error if the run in a folder has another config, but for what may change, or was trained on other data."""
    info = read_info(folder)
    if changed := since_training(folder, info, config, registry):
        raise TrainingError(f"{folder} was trained with another config; these differ: {'; '.join(changed)}")
    if changed := changes(info["data"], data):
        raise DataError(
            f"the data are not those that {folder} was trained on: {'; '.join(changed)}; --resume needs them as they were, and --out "
            "trains anew on these"
        )


def since_training(folder: Path, info: dict[str, Any], config: Config, registry: Registry) -> list[str]:
    """Lists the places where a config is not that which the run in a folder was trained with, but for what may change."""
    if info["config"] == jsonable(config):
        return []
    # Read as a config is: keys that owae did not have yet when the run began stand at their defaults, old ones are renamed.
    saved = Config.from_dict(info["config"], registry, source=str(folder / INFO))
    may_change = {f"train.{name}" for name in Options.resumable()}
    # A phase that has no checkpoint yet can still become another.
    may_change |= {name for name in {**saved.phases, **config.phases} if not any((folder / name / CHECKPOINTS).glob("*"))}
    if "fingerprints" in info["data"]:  # then it is seen whether data that have moved are the same
        may_change |= {f"data.{name}" for name in locations(saved, config)}
    return differences(saved, config, may_change)


def differences(old: Config, new: Config, may_change: Collection[str] = ()) -> list[str]:
    """Lists the places where two configs differ, but for some that may."""

    def compare(old: Any, new: Any, place: str) -> list[str]:
        if place in may_change:
            return []
        if isinstance(old, dict) and isinstance(new, dict):
            pairs = [(join(place, key), old.get(key), new.get(key)) for key in sorted({*old, *new})]
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            pairs = [(join(place, i), *pair) for i, pair in enumerate(zip(old, new, strict=True))]
        else:
            return [] if old == new else [f"{place}: was {old!r}, is {new!r}"]
        return [difference for at, one, other in pairs for difference in compare(one, other, at)]

    return compare(jsonable(old), jsonable(new), "")


def jsonable(config: Config) -> dict[str, Any]:
    """Returns the effective config as JSON values."""
    return json.loads(json.dumps(config.to_dict(), default=str))


def read_info(folder: Path) -> dict[str, Any]:
    """Reads what `run.json` says of a run; `TrainingError` if it cannot be read, or is damaged."""
    try:
        info = json.loads((folder / INFO).read_text())
        if not (isinstance(info["config"], dict) and isinstance(info["data"], dict)):
            raise ValueError("its config or data are no table")
        if wrong := misfits(info["data"]):
            raise ValueError(f"its data.{wrong[0]} is {info['data'][wrong[0]]!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrainingError(f"{folder / INFO} is damaged or cannot be read: {error}") from error
    if info.get("format", FORMAT) != FORMAT:
        raise TrainingError(f"{folder / INFO} has format {info['format']!r}; this owae reads format {FORMAT}")
    return info


def _make_ready(folder: Path, config: Config, registry: Registry, built: Built, data: dict[str, Any], overwrite: bool) -> None:
    """Deletes the run in a folder, if it is to be replaced, and what interrupted writes have left; writes what the new one is."""
    if overwrite and (folder / INFO).exists():
        try:
            # What marks the folder as a run goes last, so that an interrupted overwrite can be repeated.
            delete_all(sorted(_files(folder), key=lambda path: path == folder / INFO))
        except OSError as error:
            raise TrainingError(f"the run in {folder} cannot be replaced, and was left as it is: {error}") from error
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
    origins = {name: found for name, phase in built.beginnings.items() if (found := dict(phase.origin()))}
    if not origins and (folder / INFO).exists():  # gone on with: what was taken is in the checkpoint, and where from, in run.json
        origins = read_info(folder).get("origins", {})
    info = {
        "format": FORMAT,
        "versions": {"owae": owae.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "plugins": [{"name": name, "distribution": owner, "version": version} for name, owner, version in registry.plugins],
        "seed": config.train.seed,
        "data": data,
        "divergence": built.stack.divergence.describe(built.stack.matched_prior.shape),
        **({"origins": origins} if origins else {}),
        "config": jsonable(config),
    }
    try:
        clear_temporary(folder)
        # First what marks the folder as a run: whatever interrupts the rest, --resume and --overwrite then know it for one.
        write_durably(folder / INFO, json.dumps(info, indent=2) + "\n")
        write_durably(folder / CONFIG, config.to_toml())
    except OSError as error:
        raise TrainingError(f"the run folder {folder} cannot be made or written: {error}") from error
