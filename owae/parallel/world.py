"""Several processes that train one model on one batch: each takes a share of the rows, and the step is the one-process step.

With R processes, process r holds `L_r`, its evaluation of the loss, and every exchange between processes (the gather of codes, the sum
of costs, the statistics of batch norm) has its true adjoint as its backward pass. Then the mean over processes of the gradients is

    1/R · Σ_r ∇ L_r = ∇ (1/R · Σ_r L_r)

whatever each computes for itself and whatever all compute alike; and as all `L_r` are one number, the loss on the whole batch, that
is its gradient. (A plain all_gather, whose backward pass keeps a process's own rows only, would give 1/R of it for the codes.)

Random numbers are the same on all processes: a draw a row is made for the whole batch, of which each takes its rows (`Shares`), and
draws of the prior are common anyway. So training depends on the number of processes through rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from owae.data.loader import rows_of
from owae.errors import TrainingError

_BUCKET = 2**25  # numbers averaged at once: gradients are copied to be sent, and this bounds the copy


class PeerError(TrainingError):
    """Another process of the same training has ended or cannot be reached."""


class StepError(TrainingError):
    """Training stopped at a step. Where several processes train one model, all of them stop there."""


@dataclass(frozen=True)
class World:
    """The processes of one training; by default one alone.

    Attributes:
        device: Where this process computes.
        rank: Its number; 0 is the one that writes.
        size: How many there are.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def rows(self, count: int) -> tuple[int, ...]:
        """How many of a batch's rows each process takes."""
        return rows_of(count, self.size)

    def share(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch."""
        return batch if self.size == 1 else batch.split(self.rows(len(batch)))[self.rank]

    def gather(self, z: Tensor, rows: Sequence[int]) -> Tensor:
        """The rows of all processes, in order; differentiable."""
        return z if self.size == 1 else _Gather.apply(z, self, tuple(rows))  # pyright: ignore[reportReturnType]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over processes; differentiable."""
        return tensor if self.size == 1 else _Sum.apply(tensor)  # pyright: ignore[reportReturnType]

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over processes, in a few large messages."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                kinds.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in kinds.values():
            for bucket in _buckets(gradients):
                flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
                all_reduce(flat)
                parts = flat.div_(self.size).split([gradient.numel() for gradient in bucket])
                for gradient, part in zip(bucket, parts, strict=True):
                    gradient.copy_(part.view(gradient.shape))

    @torch.no_grad()
    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the leader's values, in place."""
        for tensor in tensors if self.size > 1 else ():
            sent = tensor.to(self.device).contiguous()
            with peers():
                dist.broadcast(sent, 0)
            tensor.copy_(sent)

    def agreed(self, values: dict[str, float]) -> dict[str, float]:
        """The leader's numbers, under the names that every process has."""
        if self.size == 1:
            return values
        numbers = torch.tensor(list(values.values()), device=self.device)
        self.agree([numbers])
        return dict(zip(values, numbers.tolist(), strict=True))

    def largest(self, number: float) -> Tensor:
        """The largest of the processes' numbers, on the device."""
        found = torch.full((), number, device=self.device)
        if self.size > 1:
            with peers():
                dist.all_reduce(found, dist.ReduceOp.MAX)
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            all_reduce(torch.zeros(1, device=self.device))

    def agree_on_randomness(self) -> None:
        """Put every process's generators where the leader's are."""
        if self.size == 1:
            return
        state = torch.get_rng_state()
        self.agree([state])
        torch.set_rng_state(state)
        if self.device.type == "cuda":
            state = torch.cuda.get_rng_state(self.device)
            self.agree([state])
            torch.cuda.set_rng_state(state, self.device)

    def close(self) -> None:
        """Leave the group, when training has ended."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def peers() -> Iterator[None]:
    """A block that exchanges messages; a failure becomes a `PeerError`."""
    try:
        yield
    except RuntimeError as error:
        raise PeerError(
            f"another process of this training has ended or cannot be reached ({str(error).splitlines()[0]}); if it failed, its own "
            "message says why; the last checkpoint stays, --resume goes on from it"
        ) from error


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum over processes, in place.

    Raises:
        PeerError: A process is gone.
    """
    with peers():
        dist.all_reduce(tensor)
    return tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, world: World, rows: tuple[int, ...]) -> Tensor:
        ctx.rows, ctx.rank = rows, world.rank
        padded = z.new_zeros(max(rows), *z.shape[1:])  # messages are of one size
        padded[: len(z)] = z
        parts = [torch.empty_like(padded) for _ in rows]
        with peers():
            dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        summed = all_reduce(gradients[0].clone(memory_format=torch.contiguous_format))
        return summed.split(ctx.rows)[ctx.rank], None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return all_reduce(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return all_reduce(gradients[0].clone(memory_format=torch.contiguous_format))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
