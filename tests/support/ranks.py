"""One of several processes that train one model, and what starts them: for tests of the mathematics, without a launcher."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

HERE = Path(__file__).parent


def together(task: str, ranks: int, *arguments: str, timeout: float = 120) -> list[dict[str, Tensor]]:
    """What the task `module:function` gives in each of so many processes: tensors by name."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        command = [sys.executable, str(HERE / "ranks.py"), folder, task, str(ranks)]
        processes = [
            subprocess.Popen([*command, str(rank), *arguments], env=environment, stderr=subprocess.PIPE, text=True)
            for rank in range(ranks)
        ]
        try:
            for process in processes:
                _, err = process.communicate(timeout=timeout)
                assert process.returncode == 0, err
        finally:
            for process in processes:
                process.kill()
        return [load_file(Path(folder) / f"result-{rank}") for rank in range(ranks)]


def _main(folder: str, task: str, ranks: str, rank: str, *arguments: str) -> None:
    import importlib

    from owae.parallel.world import World

    torch.set_num_threads(1)
    store = dist.FileStore(  # pyright: ignore[reportPrivateImportUsage]
        str(Path(folder) / "store"), int(ranks)
    )
    dist.init_process_group("gloo", store=store, rank=int(rank), world_size=int(ranks), timeout=datetime.timedelta(seconds=60))
    module, _, function = task.partition(":")
    world = World(torch.device("cpu"), int(rank), int(ranks))
    result: dict[str, Any] = getattr(importlib.import_module(module), function)(world, *arguments)
    save_file({name: value.contiguous().clone() for name, value in result.items()}, Path(folder) / f"result-{rank}")
    world.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])
