"""Records what goes into an optimiser step, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from owae.errors import StepError
from owae.model.objective import Objective


@dataclass(frozen=True)
class Batches:
    """The batches of one step, on this process, whose gradients are added up.

    Attributes:
        where: The step, as messages call it.
        own: This process's rows of each batch, (b, *x).
        counts: The rows of each batch, those of all processes.
        examples: Tells which examples this process's rows of a batch (counted from 0) are, (b,).
    """

    where: str
    own: Sequence[Tensor]
    counts: Sequence[int]
    examples: Callable[[int], Tensor]


@dataclass(frozen=True)
class Step:
    """Describes one optimiser step, just taken.

    Attributes:
        epoch: The epoch it belongs to, counted from 1.
        step: Its number since the start of training, counted from 1.
        last: Whether it ends its epoch.
        objective: The objective before the step: means over all its rows, on all processes; codes of this process's last batch.
        lr: The learning rate of the first parameter group that it was taken with.
        clipped: The factor by which gradients were scaled down: 1 if they were not.
        skipped: Whether it was left out, for something in it was not finite.
        dropped: Whether it was left out, for the loss was scaled too far up for float16.
        signal: The largest of what `Fit.signal` gave in the processes; 0 if none has anything to tell.
    """

    epoch: int
    step: int
    last: bool
    objective: Objective
    lr: float
    clipped: Tensor | float
    skipped: bool = False
    dropped: bool = False
    signal: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a step: it was taken, unless something in it was not finite (`fault`) or it was dropped, as `Step` tells."""

    objective: Objective
    fault: StepError | None = None
    dropped: bool = False
    clipped: Tensor | float = 1.0
    signal: int = 0
