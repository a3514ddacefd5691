"""Saves and loads checkpoints: one safetensors file each, written whole or not at all, and never unpickled.

A file carries a hash of its contents, so one that was cut or altered is told from a whole one; an interrupted write leaves older ones.
"""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from owae.errors import TrainingError
from owae.files import replace_durably, temporary_for
from owae.run.serialise import digest, flatten, unflatten

logger = logging.getLogger(__name__)

FORMAT = 1
_KEY = "owae"  # the only metadata entry: the order of several would differ from one process to the next


def best_path(folder: Path) -> Path:
    """Returns the path of the best checkpoint by a metric, which is kept apart from the newest ones."""
    return folder / "best.safetensors"


def save(folder: Path, state: dict[str, Any], *, keep: int = 2) -> Path:
    """Writes a training state and removes older checkpoints, so that `keep` are left with this one.

    Raises:
        TrainingError: The disk is full or the folder cannot be written, or the state holds values that are not finite.
    """
    target = _write(folder / _name(state["step"]), state)
    older = [path for path in paths(folder) if path < target]
    try:
        for path in older[max(1, keep) - 1 :]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"older checkpoints in {folder} cannot be removed: {error}; {target.name} is written") from error
    return target


def save_best(folder: Path, state: dict[str, Any]) -> Path:
    """Writes a training state in place of the best so far; errors as for `save`."""
    return _write(best_path(folder), state)


def _write(target: Path, state: dict[str, Any]) -> Path:
    folder = target.parent
    for name, tensor in state["model"].items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(f"step {state['step']}: {name} holds values that are not finite, so no checkpoint was written")
    tensors, text = flatten(state)
    header = json.dumps({"format": FORMAT, "digest": digest(tensors, text), "tree": text})
    temporary = temporary_for(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata={_KEY: header})
        if temporary.stat().st_mode != mode:  # safetensors lets the owner alone read its files; here the umask decides
            temporary.chmod(mode)
        replace_durably(temporary, target)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):  # a folder turned read-only keeps even that
            temporary.unlink(missing_ok=True)
        newest = next(iter(paths(folder)), None)
        kept = f"the newest checkpoint is {newest}" if newest else "there is no older checkpoint"
        raise TrainingError(f"the checkpoint of step {state['step']} could not be written to {folder}: {error}; {kept}") from error
    return target


def _name(step: int) -> str:
    return f"step-{step:09d}.safetensors"


def paths(folder: Path) -> list[Path]:
    """Lists the checkpoints in a folder, newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def put_in_order(path: Path, step: int) -> None:
    """Gives the newest whole checkpoint the name of its step, and newer ones, which do not open, names under which they do not count.

    Under the name of a later step it would hide those to come.
    """
    for damaged in paths(path.parent):
        if damaged > path:
            damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))
    if path.name != _name(step):
        logger.warning("%s holds step %d, and is called %s again", path, step, _name(step))
        path.replace(path.with_name(_name(step)))


def load(path: Path) -> dict[str, Any]:
    """Reads a training state; `TrainingError` for a file that is missing, no checkpoint of owae, cut, altered, or lacks a tensor."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # not a dictionary
    except FileNotFoundError as error:
        raise TrainingError(f"{path} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path} is not a whole safetensors file ({error}); owae reads no other kind") from error
    try:
        header = json.loads(metadata[_KEY])
        version, expected, text = header["format"], header["digest"], header["tree"]
        state = unflatten(tensors, text)
        if not {"model", "step"} <= set(state):
            raise ValueError("it holds no model or no step")
    except KeyError as error:
        if _KEY in metadata:
            raise TrainingError(f"{path} lacks the tensor {error}") from error
        raise TrainingError(f"{path} is a safetensors file, but not a checkpoint of owae") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TrainingError(f"{path} has a damaged header: {error}") from error
    if version != FORMAT:
        raise TrainingError(f"{path} has checkpoint format {version}; this owae reads format {FORMAT}")
    if digest(tensors, text) != expected:
        raise TrainingError(f"{path} was altered after it was written: its contents do not match their hash")
    return state


def load_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Reads the newest checkpoint that is whole, and warns of each newer file that is not; None if there is no file.

    Returns:
        Its path and its training state.

    Raises:
        TrainingError: There are files, but none is whole.
    """
    failures = []
    for path in paths(folder):
        try:
            return path, load(path)
        except TrainingError as error:
            failures.append(str(error))
            logger.warning("%s; trying an older checkpoint", error)
    if failures:
        raise TrainingError("no checkpoint can be opened:\n" + "\n".join(f"  {failure}" for failure in failures))
    return None
