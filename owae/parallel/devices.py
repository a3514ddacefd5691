"""Chooses the device to compute on, and tells which of several processes of a training this one is."""

from __future__ import annotations

import os

import torch

from owae.errors import TrainingError

RANK = "OWAE_RANK"  # set by `launch` in each of several processes, and for those that it starts


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
    found = os.environ
    if "TORCHELASTIC_RUN_ID" in found:
        here, everywhere = int(found["LOCAL_WORLD_SIZE"]), int(found["WORLD_SIZE"])
        return (here, everywhere // here) if everywhere > 1 else None
    # A batch script has SLURM_NTASKS too, but is one process: only a step that srun started has several.
    if "SLURM_STEP_NUM_TASKS" in found and int(found["SLURM_STEP_NUM_TASKS"]) > 1 and "SLURM_LOCALID" in found:
        machines = int(found.get("SLURM_STEP_NUM_NODES", "1"))
        return int(found["SLURM_STEP_NUM_TASKS"]) // machines, machines
    return None


def global_rank() -> int:
    """Returns the number of this process among those of its training; 0 for one alone.

    It counts only where torchrun or SLURM has started several, or `launch` itself: variables such as LOCAL_RANK that something else
    has left in the environment mean nothing.
    """
    if launched_processes() is not None:
        return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))
    return int(os.environ.get(RANK, "0"))


def is_main_process() -> bool:
    """Tells whether this process is the one of its training that writes and reports."""
    return global_rank() == 0
