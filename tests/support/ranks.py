"""Starts several processes that train one model, as torchrun would, and collects what a task gives in each."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from processes import Forked, free_port
from safetensors.torch import load_file, save_file
from torch import Tensor


def together(task: str, ranks: int, *arguments: str, timeout: float = 900) -> list[dict[str, Tensor]]:
    """What the task `module:function` gives in each of so many processes: tensors by name."""
    with tempfile.TemporaryDirectory() as folder:
        everyone = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "GROUP_RANK": "0"}
        everyone |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        processes = [
            Forked(Path(folder), _main, folder, task, *arguments, **everyone, RANK=str(rank), LOCAL_RANK=str(rank))
            for rank in range(ranks)
        ]
        try:
            errors = [process.communicate(timeout)[1] for process in processes]
            assert not any(process.returncode for process in processes), "\n".join(errors)
        finally:
            for process in processes:
                process.kill()
        return [load_file(Path(folder) / f"result-{rank}") for rank in range(ranks)]


def _main(folder: str, task: str, *arguments: str) -> None:
    from owae.parallel.launch import launch, leave

    torch.set_num_threads(1)
    fabric = launch("cpu")
    module, _, function = task.partition(":")
    result: dict[str, Any] = getattr(importlib.import_module(module), function)(fabric, *arguments)
    save_file({name: value.contiguous().clone() for name, value in result.items()}, Path(folder) / f"result-{fabric.global_rank}")
    leave(fabric)
