"""Starts the processes of a training, or finds those that torchrun or SLURM has started, through Lightning Fabric.

Fabric also sets the precision of networks: float32, or half by autocast, with the loss scaled under float16. Costs, penalties and
divergences are float32 whatever is chosen: the stack switches autocast off around them.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.precision import MixedPrecision, Precision

from owae.errors import InterruptionError, OwaeError, PeerError, StepError, TrainingError
from owae.parallel.devices import choose_device, global_rank, launched_processes, own_rank, set_own_rank
from owae.streams import quiet_stdout

logger = logging.getLogger(__name__)


@contextmanager
def only_main_process_reports() -> Iterator[None]:
    """Runs the block so that only the first of several processes reports what all of them meet.

    The others log errors alone, and end without a message where a step or a signal stops all of them, or a peer is gone.
    """
    if global_rank() > 0:
        logging.getLogger("owae").setLevel(logging.ERROR)
    try:
        yield
    except OwaeError as error:
        if global_rank() == 0:
            raise
        if isinstance(error, InterruptionError | StepError):
            raise SystemExit(0) from error
        if isinstance(error, PeerError):
            raise SystemExit(1) from error
        logger.error("process %d: %s", global_rank(), error)
        raise SystemExit(error.exit_code) from error


def launch(device: str = "auto", *, devices: int | str = 1, nodes: int = 1, precision: str = "32") -> Fabric:
    """Joins the processes of a training, starting those that nobody has started.

    Where torchrun or SLURM has started this process as one of several, they are its peers; otherwise, with several devices, this
    program is started again for each further one, with the same arguments.

    Args:
        device: As for `choose_device`, without a number where there are several.
        devices: Processes on this machine, one a device; "auto" for one on every GPU.
        nodes: Machines, each with as many.
        precision: "32", "bf16-mixed" or "16-mixed": what networks run in.

    Returns:
        Lightning Fabric, launched: rank and size of the world, precision, and data parallelism where there are several processes.

    Raises:
        TrainingError: There are fewer devices, no such precision, or what started this process counts differently.
    """
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
    if devices * nodes > 1 and (chosen.type not in ("cpu", "cuda") or chosen.index is not None):
        raise TrainingError(f"found device '{device}' for {devices * nodes} processes; 'cpu' or 'cuda' would work there")
    if chosen.type == "cuda" and devices > torch.cuda.device_count():
        raise TrainingError(f"found devices = {devices}; this machine has {torch.cuda.device_count()} CUDA devices")
    with quiet_stdout():
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        return _join(chosen, devices, nodes, precision)


def _join(device: torch.device, devices: int, nodes: int, precision: str) -> Fabric:
    several = devices * nodes > 1
    plugins: list[Any] = [precision_plugin(precision, device)]
    if launched_processes() is None:
        # Of its own accord Fabric takes a batch script of SLURM for one of several processes.
        plugins.append(LightningEnvironment())
        if own_rank() is None:
            os.environ.pop("LOCAL_RANK", None)  # it would take this process for one that somebody started as a follower
    options: dict[str, Any] = {"accelerator": device.type, "num_nodes": nodes, "plugins": plugins}
    options["devices"] = [device.index] if device.index is not None else devices
    options["strategy"] = "ddp" if several else "auto"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fabric's advice about machines in general
            fabric = Fabric(**options)
        if several:
            if own_rank() is None:
                set_own_rank(None)  # processes that Fabric starts are told before it has told them their place
            _connect_restarted("nccl" if device.type == "cuda" else "gloo")
            fabric.launch()
            set_own_rank(fabric.global_rank)
            fabric.barrier()  # what connects for the first time may print
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the {devices * nodes} processes of this training did not come together: {error}") from error
    return fabric


def _connect_restarted(backend: str) -> None:
    """Connects the processes that torchrun has started again on one machine, by keys of this attempt; Fabric then takes their group.

    torchrun's store outlives an attempt: without a prefix, a process that comes early reads where one of the attempt before listened.
    """
    attempt, machines = (os.environ.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "GROUP_WORLD_SIZE"))
    if launched_processes() is None or attempt == "0" or machines != "1":  # machines may count their attempts differently
        return
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    prefixed = PrefixStore(f"attempt {attempt}", store)
    torch.distributed.init_process_group(backend, store=prefixed, rank=rank, world_size=size)


def leave(fabric: Fabric) -> None:
    """Leaves the group of processes, when training has ended."""
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class MixedNetworks(MixedPrecision):
    """Runs networks in mixed precision as Fabric does, but leaves the data float32, for costs compare with them."""

    def convert_input(self, data: Any) -> Any:
        return data


def precision_plugin(name: str, device: torch.device) -> Precision:
    """Makes Fabric's plugin for the precision of that name on a device.

    Raises:
        TrainingError: There is none of that name, or not on this device.
    """
    if name not in ("32", "bf16-mixed", "16-mixed"):
        raise TrainingError(f"found precision '{name}'; '32', 'bf16-mixed' and '16-mixed' would work")
    if name == "32":
        return Precision()
    if device.type == "cuda" and name == "bf16-mixed" and not torch.cuda.is_bf16_supported():
        raise TrainingError("this GPU has no bfloat16; precision '16-mixed' or '32' would work")
    return MixedNetworks(cast(Literal["bf16-mixed", "16-mixed"], name), device.type)
