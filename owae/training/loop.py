"""The training loop as an iterator of steps: one joint step on Eq. 14 (and Eq. 17) at a time.

    for step in fit(stack, data, epochs=10):
        ...

Whoever iterates decides what to log, draw and save; the loop itself writes nothing. Its state is a tree of tensors and plain
values, and a loop that is given it goes on to the bit, on one CPU.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from owae.data.loader import Loader
from owae.data.sources import as_source
from owae.interfaces import DataSource
from owae.model.stack import Objective, Stack
from owae.numerics import at_least, unchecked
from owae.parallel.batch_norm import synchronise
from owae.parallel.devices import choose_device
from owae.parallel.shares import Shares
from owae.parallel.world import StepError, World
from owae.training import state as states
from owae.training.ema import Average
from owae.training.guards import Guard, within_memory
from owae.training.memory_format import laid_out
from owae.training.networks import Compile, Networks
from owae.training.objectives import mean_objective, unknown
from owae.training.optimizers import OptimizerSpec, ScheduleSpec, make_optimizer, make_schedule, warming_up
from owae.training.precision import make_precision
from owae.training.validation import validated

logger = logging.getLogger(__name__)

ADAM = {"name": "Adam", "lr": 1e-3}


@dataclass(frozen=True)
class Step:
    """One optimiser step, just taken.

    Attributes:
        epoch: The epoch it belongs to, counted from 1.
        step: Its number since the start of training, counted from 1.
        last: Whether it ends its epoch.
        objective: The objective before the step; where several batches make a step, the terms' means, and the last one's codes.
        lr: The learning rate of the first parameter group that it was taken with.
        clipped: The factor by which gradients were scaled down: 1 if they were not.
        skipped: Whether it was left out, for something in it was not finite.
        signal: The number of a signal that one of several processes has received; 0 if none has.
    """

    epoch: int
    step: int
    last: bool
    objective: Objective
    lr: float
    clipped: Tensor | float
    skipped: bool = False
    signal: int = 0


class Fit:
    """Train a stack, step by step: iterate the result.

    Args:
        stack: What to train, in place; moved to the device.
        data: A source, or a tensor (N, *x) of floats or bytes (0…255 for 0…1).
        epochs: Passes over the data.
        batch_size: Rows of a batch, at least 2, on all processes together; also the size of the samples that the divergence compares.
        optimizer: `{"name": "Adam", "lr": 1e-3, …}` with any of torch's, or a function of the parameters.
        schedule: `{"name": "OneCycleLR", "max_lr": 3e-3, …}` with any of torch's, stepped once a step; or a function of the
            optimiser.
        warmup: Steps over which rates rise linearly to what optimiser and schedule say.
        accumulate: Batches whose gradients make a step. Costs are means over all of them; the divergence sees one at a time.
        clip_gradients: Largest norm of the whole gradient.
        skip_bad_steps: Steps in a row that are left out, with a warning, where the objective or the gradient is not finite, before
            one more ends training.
        ema: Decay of a moving average of the parameters, as 0.999, for `averaged` and validation; none unless given.
        precision: "32", "bf16-mixed" or "16-mixed": what networks run in; costs and divergences stay float32.
        compile: Whether torch.compile translates the networks: true, false, or "auto" for on a GPU.
        memory_format: "contiguous", "channels_last" for images and their filters, or "auto" for the latter on a GPU.
        checkpoint_activations: Compute activations again in the backward pass instead of keeping them: memory for time.
        validation: Held-out examples for `validate`.
        seed: Decides the order of the data; noise comes from torch's generator (`torch.manual_seed`).
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: Processes that read examples; see `Loader`.
        world: The processes to train with, from `owae.training.launch`, instead of a device.

    Raises:
        TrainingError: While iterating: a term of the objective or a gradient is not finite, at the step where it happens and
            before the parameters are touched.
        DataError: Too few examples, or batches of one.
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        stack: Stack,
        data: DataSource | Tensor,
        *,
        epochs: int,
        batch_size: int = 128,
        optimizer: OptimizerSpec | None = None,
        schedule: ScheduleSpec | None = None,
        warmup: int = 0,
        accumulate: int = 1,
        clip_gradients: float | None = None,
        skip_bad_steps: int = 0,
        ema: float | None = None,
        precision: str = "32",
        compile: Compile = "auto",
        memory_format: str = "auto",
        checkpoint_activations: bool = False,
        validation: DataSource | Tensor | None = None,
        seed: int = 0,
        device: str = "auto",
        workers: int = 0,
        world: World | None = None,
    ) -> None:
        at_least(1, accumulate=accumulate)
        at_least(0, epochs=epochs, warmup=warmup, skip_bad_steps=skip_bad_steps)
        self.world = World(choose_device(device)) if world is None else world
        self.device = self.world.device
        self.stack, self._prepared = laid_out(stack.to(self.device), memory_format)
        self.world.agree(itertools.chain(stack.parameters(), stack.buffers()))
        self.world.agree_on_randomness()
        synchronise(self.stack, self.world)
        self.loader = Loader(as_source(data), batch_size, seed, self.device, workers, rank=self.world.rank, ranks=self.world.size)
        self.epochs, self.accumulate, self.seed = epochs, accumulate, seed
        self.warmup, self.clip_gradients, self.skip_bad_steps = warmup, clip_gradients, skip_bad_steps
        self.steps_per_epoch = -(-len(self.loader) // accumulate)
        self.total_steps = epochs * self.steps_per_epoch
        # A stack matched at a lower level leaves some encoders without a gradient; an optimiser skips those.
        self.optimizer = make_optimizer(ADAM if optimizer is None else optimizer, stack.parameters())
        self.schedule = None if schedule is None else make_schedule(schedule, self.optimizer, max(1, self.total_steps))
        self.precision = make_precision(precision, self.device)
        self.average = None if ema is None else Average(self.stack, ema)
        self.validation = None if validation is None else as_source(validation)
        self._networks = Networks(self.stack, compile=compile, checkpoint=checkpoint_activations)
        self._guard = Guard(self.stack)
        self.step = 0  # steps behind us
        self.skipped = self.bad_in_a_row = 0
        # Asked once a step where several processes train, so that a signal to one of them stops all at the same step.
        self.signal: Callable[[], int | None] = lambda: None

    def __len__(self) -> int:
        """Steps in all, those already taken included."""
        return self.total_steps

    @property
    def epoch(self) -> int:
        """The epoch of the last step taken, counted from 1; 0 before the first."""
        return -(-self.step // self.steps_per_epoch)

    def __iter__(self) -> Iterator[Step]:
        try:
            while self.step < self.total_steps:
                done, start = divmod(self.step, self.steps_per_epoch)
                batches = self.loader.epoch(done + 1, start * self.accumulate)
                for index, group in enumerate(_groups(batches, self.accumulate), start):
                    if not self.stack.training:  # whoever iterates may have looked at the model meanwhile
                        self.stack.train()
                    yield self._advance(group, done + 1, index)
        finally:
            self.loader.close()

    def _advance(self, batches: list[Tensor], epoch: int, index: int) -> Step:
        where = f"epoch {epoch}, step {self.step + 1}"
        counts = [self.loader.rows(index * self.accumulate + i) for i in range(len(batches))]
        self._guard.begin()
        self.optimizer.zero_grad(set_to_none=True)
        with within_memory(where):
            objectives, fault = self._gradient(batches, counts, where)
        warm = min(1.0, (self.step + 1) / self.warmup) if self.warmup else 1.0
        clipped, signal, lr = 1.0, 0, warm * float(self.optimizer.param_groups[0]["lr"])
        if fault is None:
            self.world.average_gradients(self.stack.parameters())
            self.precision.unscale(self.optimizer)
            clipped, norm = self._clip()
            loss_is_sound, gradient_is_sound, signal = self._guard.look(objectives, norm, self.world, self.signal)
            if loss_is_sound and gradient_is_sound:
                self._take(warm)
            elif not (loss_is_sound and self.precision.overflowed()):
                fault = self._guard.explain(batches, objectives, where)
        if fault is not None:
            self._leave_out(fault)
        if self.schedule is not None and self.step + 1 < self.total_steps:
            with warnings.catch_warnings():
                if self.skipped:  # torch remarks on a schedule whose first step comes before the optimiser's
                    warnings.simplefilter("ignore")
                self.schedule.step()
        self.step += 1
        objective = mean_objective(objectives, counts) if objectives else unknown(self.stack)
        last = index + 1 == self.steps_per_epoch
        return Step(epoch, self.step, last, objective, lr, clipped, fault is not None, signal)

    def _gradient(self, batches: Sequence[Tensor], counts: Sequence[int], where: str) -> tuple[list[Objective], StepError | None]:
        objectives: list[Objective] = []
        for i, (x, count) in enumerate(zip(batches, counts, strict=True)):
            try:
                objective = self.evaluate(x, count, self.step, i)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                if self.world.size > 1:  # the others are waiting for what this one would have sent
                    raise
                reason = self._guard.explain_failure(x, where, error)
                if isinstance(reason, StepError):
                    return [], reason
                raise
            share = count / sum(counts)
            self.precision.backward(objective.loss if share == 1 else objective.loss * share)
            objectives.append(objective)
        return objectives, None

    def evaluate(self, x: Tensor, count: int, *key: int) -> Objective:
        """The objective as training computes it, of a batch of `count` rows of which `x` are this process's.

        `key` tells batches apart where layers draw random numbers of their own, as for dropout, in several processes.
        """
        x = self._prepared(x)
        if self.world.size == 1:
            with unchecked(), self._networks.running(), self.precision.context():
                return self.stack(x)
        shares = Shares(self.world, count, (self.seed, *key))
        with unchecked(), shares.of(self.stack), self._networks.running(shares.privately), self.precision.context():
            return shares.whole(self.stack(x), self.stack)

    def _clip(self) -> tuple[Tensor | float, Tensor]:
        """The factor by which gradients were scaled, and a number that is finite only if they were."""
        if self.clip_gradients is None:
            return 1.0, self._guard.gradient_norm()
        norm = clip_grad_norm_(self.stack.parameters(), self.clip_gradients)
        return (self.clip_gradients / (norm + 1e-6)).clamp(max=1.0), norm

    def _take(self, warm: float) -> None:
        with warming_up(self.optimizer, warm):
            self.precision.step(self.optimizer)
        self.bad_in_a_row = 0
        if self.average is not None:
            self.average.update()

    def _leave_out(self, fault: StepError) -> None:
        self._guard.undo()
        if self.bad_in_a_row >= self.skip_bad_steps:
            raise fault
        self.precision.drop()
        self.bad_in_a_row += 1
        self.skipped += 1
        logger.warning("%s; this step is left out, %d in a row, %d in all", fault, self.bad_in_a_row, self.skipped)

    def averaged(self) -> AbstractContextManager[None]:
        """A block in which the stack has the averaged parameters, if an average is kept: what evaluation uses."""
        return nullcontext() if self.average is None else self.average.in_place()

    def validate(self) -> dict[str, float]:
        """The objective's terms on the held-out examples, with averaged parameters if there are any: `validation/loss`, …"""
        return validated(self)

    def gradient_norms(self, step: Step) -> dict[str, float]:
        """The norm of each level's gradient at the step just taken, before clipping: `gradient/i`, i = 1 … N."""
        norms = [
            get_total_norm([p.grad for p in layer.parameters() if p.grad is not None] or [self.stack.prior.anchor])
            for layer in self.stack.layers
        ]
        values = (torch.stack([norm.detach().float() for norm in norms]) / step.clipped).tolist()
        return {f"gradient/{i}": value for i, value in enumerate(values, start=1)}

    def state(self) -> dict[str, Any]:
        """Everything that decides how training goes on: a tree of tensors and plain values."""
        return states.state(self)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`.

        Raises:
            TrainingError: It is of another model, or an epoch has another number of steps now.
        """
        states.restore(self, state)


def _groups(batches: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    while group := list(itertools.islice(batches, size)):
        yield group


fit = Fit  # a verb for whoever writes `for step in fit(…)`
