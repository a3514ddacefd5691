"""Chooses the device to compute on, and tells which of several processes of a training this one is."""

from __future__ import annotations

import os

import torch

from owae.errors import TrainingError

_RANK = "OWAE_RANK"  # set by `launch`: the rank of a process, or FOLLOWER for those that it starts, and the process that set it
_FOLLOWER = "follower"


def choose_device(name: str) -> torch.device:
    """Returns the device of that name; "auto" takes an accelerator if there is one. `TrainingError` where there is no such device."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind, _, index = name.partition(":")
    here = [kind for kind, there in available.items() if there]
    if not available.get(kind, False) or (index and kind == "cuda" and not index.isdigit()):
        raise TrainingError(f"device '{name}' is not available here; auto, {', '.join(here)} would work")
    if index and kind == "cuda" and int(index) >= torch.cuda.device_count():
        raise TrainingError(
            f"device '{name}' is not available here; this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0"
        )
    return torch.device(name)


def launched_processes() -> tuple[int, int] | None:
    """Returns (processes a machine, machines) where torchrun or SLURM's srun started this process as one of several; else None."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        here, everywhere = _number("LOCAL_WORLD_SIZE"), _number("WORLD_SIZE")
        return (here, everywhere // here) if here > 0 and everywhere > 1 else None
    # A batch script has SLURM_NTASKS too, but is one process: only a step that srun started has several.
    if (tasks := _number("SLURM_STEP_NUM_TASKS")) > 1 and "SLURM_LOCALID" in os.environ:
        machines = max(1, _number("SLURM_STEP_NUM_NODES"))
        return tasks // machines, machines
    return None


def _number(name: str) -> int:
    """Returns the whole number in a variable of the environment; 0 where there is none."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0


def global_rank() -> int:
    """Returns the number of this process among those of its training; 0 for one alone.

    It counts only where torchrun or SLURM has started several, or `launch` itself: variables such as LOCAL_RANK that something else
    has left in the environment mean nothing.
    """
    if launched_processes() is not None:
        return _number("RANK" if "RANK" in os.environ else "SLURM_PROCID")
    return own_rank() or 0


def own_rank() -> int | None:
    """Returns the rank that `launch` has given this process; 1 in one that it has just started, None where it has done neither."""
    rank, _, process = os.environ.get(_RANK, "").partition(" ")
    if rank == _FOLLOWER:
        return 1 if process == str(os.getppid()) else None
    return int(rank) if rank.isdecimal() and process == str(os.getpid()) else None


def set_own_rank(rank: int | None) -> None:
    """Notes the rank of this process; None while it starts others, which are told apart from it by that."""
    os.environ[_RANK] = f"{_FOLLOWER if rank is None else rank} {os.getpid()}"


def is_main_process() -> bool:
    """Tells whether this process is the one of its training that writes and reports."""
    return global_rank() == 0
