"""Starting the processes of a training, or finding those that torchrun or SLURM has started."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from owae.errors import InterruptionError, OwaeError, TrainingError
from owae.parallel.devices import choose_device, launched_processes, launched_rank
from owae.parallel.world import PeerError, StepError, World
from owae.streams import quiet_stdout

logger = logging.getLogger(__name__)


@contextmanager
def one_voice() -> Iterator[None]:
    """A block of a training's own process in which only the first of several reports what all of them meet.

    The others log errors alone, and end quietly where a step stops all of them, a signal does, or a peer is gone.
    """
    if launched_rank() > 0:
        logging.getLogger("owae").setLevel(logging.ERROR)
    try:
        yield
    except (InterruptionError, StepError) as error:
        if launched_rank() > 0:
            raise SystemExit(0) from error
        raise
    except PeerError as error:
        if launched_rank() > 0:
            raise SystemExit(1) from error
        raise
    except OwaeError as error:
        if launched_rank() > 0:
            logger.error("process %d: %s", launched_rank(), error)
            raise SystemExit(error.exit_code) from error
        raise


def launch(device: str = "auto", *, devices: int | str = 1, nodes: int = 1, strategy: str = "auto") -> World:
    """Join the processes of a training, starting those that nobody has started, through Lightning Fabric.

    Where torchrun or SLURM has started this process as one of several, they are its peers; otherwise, with several devices, this
    program is started again for each further one, with the same arguments.

    Args:
        device: As for `choose_device`, without a number where there are several.
        devices: Processes on this machine, one a device; "auto" for one on every GPU.
        nodes: Machines, each with as many.
        strategy: "ddp", data parallelism, or "auto", which is the same wherever there are several processes.

    Raises:
        TrainingError: There are fewer devices, or what started this process counts differently.
    """
    if strategy not in ("auto", "ddp"):
        raise TrainingError(f"found strategy '{strategy}'; 'auto' and 'ddp' would work")
    here, machines = launched_processes() or (None, None)
    chosen = choose_device(device)
    if devices == "auto":
        devices = here or (torch.cuda.device_count() if chosen.type == "cuda" and chosen.index is None else 1)
    if not isinstance(devices, int) or devices < 1 or nodes < 1:
        raise TrainingError(f"found devices = {devices!r}, nodes = {nodes}; whole numbers from 1, or devices = 'auto', would work")
    if here is not None and machines is not None:
        if devices * nodes == 1:
            devices, nodes = here, machines
        elif (devices, nodes) != (here, machines):
            raise TrainingError(
                f"found devices = {devices} on {nodes} nodes, but this process was started as one of {here} on {machines}; "
                "leave both out, or say the same to torchrun or SLURM"
            )
    if devices * nodes == 1:
        return World(chosen)
    if chosen.type not in ("cpu", "cuda") or chosen.index is not None:
        raise TrainingError(f"found device '{device}' for {devices * nodes} processes; 'cpu' or 'cuda' would work there")
    if chosen.type == "cuda" and devices > torch.cuda.device_count():
        raise TrainingError(f"found devices = {devices}; this machine has {torch.cuda.device_count()} CUDA devices")
    return _join(chosen.type, devices, nodes)


def _join(kind: str, devices: int, nodes: int) -> World:
    with quiet_stdout(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        from lightning_fabric import Fabric  # takes two seconds, which one process alone need not wait for

        try:
            fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp")
            fabric.launch()
        except (RuntimeError, ValueError) as error:
            raise TrainingError(f"the {devices * nodes} processes of this training did not come together: {error}") from error
        world = World(fabric.device, fabric.global_rank, fabric.world_size)
        world.wait()  # what connects for the first time may print
    return world
