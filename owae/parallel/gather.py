"""Exchanges what the objective needs between processes: codes gathered with a true gradient, and sums for logs.

With R processes, process r holds a loss `L_r` on its rows of a batch, and DistributedDataParallel replaces each gradient by its mean
over processes. Every exchange inside the forward pass (the gather of codes, batch norm's statistics) has its true adjoint as its
backward pass; then that mean is

    1/R · Σ_r ∇ L_r = ∇ (1/R · Σ_r L_r),

the gradient of the mean loss. (`torch.distributed.all_gather`, of whose result a process keeps the graph of its own rows only, would
give 1/R of the gradient that flows through the codes; that of `torch.distributed.nn` sums what all processes send back.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from owae.errors import PeerError


def rows_of(count: int, ranks: int) -> tuple[int, ...]:
    """Counts each process's rows of a batch, as `Tensor.tensor_split` deals them: as evenly as can be, the first ones one more."""
    return tuple(map(len, torch.arange(count).tensor_split(ranks)))


_OF_MESSAGES = re.compile(r"gloo|NCCL|connection|process group|store", re.IGNORECASE)


@contextmanager
def peers() -> Iterator[None]:
    """Runs a block that exchanges messages; where one cannot be sent or received, the error becomes a `PeerError`."""
    try:
        yield
    except RuntimeError as error:
        if not _OF_MESSAGES.search(str(error)):
            raise
        raise PeerError(
            f"another process of this training has ended or cannot be reached ({str(error).splitlines()[0]}); if it failed, its own "
            "message says why; the last checkpoint stays, --resume goes on from it"
        ) from error


def all_reduce(tensor: Tensor) -> Tensor:
    """Sums a tensor over processes, in place; `PeerError` where one is gone."""
    with peers():
        dist.all_reduce(tensor)
    return tensor


def gather(z: Tensor, rows: Sequence[int]) -> Tensor:
    """Gathers codes of all processes, in order of their ranks; differentiable. Process r gives `rows[r]` of them, (rows[r], *event)."""
    padded = torch.cat([z, z.new_zeros(max(rows) - len(z), *z.shape[1:])])  # messages are of one size
    with peers():
        parts = all_gather(padded)
    return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])
