"""A run folder while it is written: its lock, what may lie in it, and how a run is deleted. What it says of the run: `identity.py`."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from owae.errors import TrainingError
from owae.files import delete_all, is_temporary

logger = logging.getLogger(__name__)

CONFIG, INFO, METRICS, CHECKPOINTS, PICTURES, LOCK = "config.toml", "run.json", "metrics.jsonl", "checkpoints", "pictures", ".lock"


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
def locked(folder: Path, *, may_hold_run: bool) -> Iterator[None]:
    """Runs the block with a run folder made, if there is none yet, and locked against other processes.

    Raises:
        TrainingError: It cannot be written, another process trains in it, it holds a run and may not, or files of something else.
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
        if (folder / INFO).exists() and not may_hold_run:
            raise TrainingError(
                f"{folder} already holds a run; --resume goes on with it, --overwrite replaces it, --out names another folder"
            )
        yield
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


def delete_run(folder: Path) -> None:
    """Deletes the run in a folder, if there is one; `TrainingError` if it cannot be deleted, and then all of it stays."""
    if not (folder / INFO).exists():
        return
    try:
        # What marks the folder as a run goes last, so that an interrupted overwrite can be repeated.
        delete_all(sorted(_files(folder), key=lambda path: path == folder / INFO))
    except OSError as error:
        raise TrainingError(f"the run in {folder} cannot be replaced, and was left as it is: {error}") from error
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
