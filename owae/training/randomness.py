"""Keeps the random numbers of a training: one stream a process, saved in checkpoints.

Each of several processes draws noise from a stream of its own, as is the custom. Drawing every process's noise everywhere, so that
two devices train as one to rounding, was tried and left: all processes then draw for all rows, every draw has to be known as one a
row, and a layer's own draws (dropout) cannot be. With streams apart, each process also compares the codes with its own draws of the
prior, and the mean over processes has less noise. That the mathematics is that of one process is tested with noise handed in.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


def separate_streams(fabric: Fabric) -> None:
    """Gives every process but the first a stream that depends on the first one's seed and its own rank."""
    seed = torch.tensor([torch.initial_seed() % 2**62], device=fabric.device)
    dist.broadcast(seed, 0)
    _seed(fabric, int(seed.item()))


def state(fabric: Fabric) -> dict[str, Any]:
    """Returns the states of the generators: the first process's, and, where several train, the others' as `peers`."""
    own: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return own
    ranks: list[dict[str, Any]] = [{} for _ in range(fabric.world_size)]
    for kind, generator in own.items():
        sent = generator.to(fabric.device)
        received = [torch.empty_like(sent) for _ in ranks]
        dist.all_gather(received, sent)
        for rank, tensor in zip(ranks, received, strict=True):
            rank[kind] = tensor.cpu()
    return ranks[0] | {"peers": ranks[1:]}


def restore(fabric: Fabric, saved: dict[str, Any], key: tuple[int, ...]) -> None:
    """Puts the generators where they were; a process that the saved training did not have gets a stream of its own from `key`."""
    peers = saved.get("peers", [])
    if fabric.global_rank > len(peers):
        return _seed(fabric, *key)
    own = peers[fabric.global_rank - 1] if fabric.global_rank else saved
    torch.set_rng_state(own["cpu"].cpu())
    if fabric.device.type == "cuda" and "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"].cpu(), fabric.device)
    elif fabric.device.type != "cpu" or "cuda" in own:
        logger.warning("the saved run drew its noise on another kind of device: from here on the noise is another")
    return None


def _seed(fabric: Fabric, *key: int) -> None:
    if fabric.global_rank:
        (mixed,) = np.random.SeedSequence([*key, fabric.global_rank]).generate_state(1)
        torch.manual_seed(int(mixed))
