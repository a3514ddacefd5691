"""The training loop as an iterator of steps: one joint step on Eq. 14 (and Eq. 17) at a time.

    for step in fit(stack, data, epochs=10):
        ...

Whoever iterates decides what to log, draw and save; the loop itself writes nothing. Its `state()` holds tensors and plain values,
and a loop that restores it goes on to the bit, on one CPU.
"""

from __future__ import annotations

import itertools
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from owae.data.loader import Loader
from owae.data.sources import as_source
from owae.errors import DataError, StepError, TrainingError
from owae.model.objective import Objective
from owae.model.stack import Stack
from owae.parallel.batch_norm import sync_batchnorm
from owae.parallel.gather import peers
from owae.parallel.launch import launch
from owae.torch_state import CPU, own_terms
from owae.training import randomness
from owae.training.effect import Effect, check_trainable, level_gradient_norms, norm_of_gradient
from owae.training.ema import Average, load_model
from owae.training.faults import explain, explain_failure, within_memory
from owae.training.guards import Guard
from owae.training.networks import channels_last, training_context, use_channels_last
from owae.training.objective import TrainingObjective, combined, find_unused_parameters, nan_objective, validate
from owae.training.optimizers import make_optimizer, make_schedule, restore_optimizer, warming_up
from owae.training.options import Options
from owae.training.step import Batches, Outcome, Step
from owae.training.tally import LossScale, Tally

logger = logging.getLogger(__name__)


class Fit:
    """Trains a stack, step by step: iterate the result.

    Args:
        stack: What to train, in place; moved to the device.
        data: A source, a dataset of torch's, or a tensor, array or sequence (N, *x) of floats or bytes (0…255 for 0…1).
        validation: Held-out examples for `validate`.
        fabric: The processes to train with, from `owae.parallel.launch`, instead of `device` and `precision`.
        options: How to train, in one record; or the same as keywords.
        keywords: The attributes of `owae.training.options.Options`, which are the keys of [train] in a config: epochs, batch_size,
            optimizer, …; here `optimizer` can also be a function of the parameters, and `schedule` one of the optimiser.

    Raises:
        TrainingError: There is nothing to train. While iterating: a term of the objective or a gradient is not finite, at the step
            where it happens and before the parameters are touched; or training ends without a step that changed anything.
        DataError: Too few examples, batches of one, or data of another shape, type or scale than the stack takes.
        ConfigError: An option is unknown or out of its range.
    """

    @own_terms(CPU, gradients=True)
    def __init__(
        self,
        stack: Stack,
        data: object,
        *,
        validation: object = None,
        fabric: Fabric | None = None,
        options: Options | None = None,
        **keywords: Any,
    ) -> None:
        functions = {name: keywords.pop(name) for name in ("optimizer", "schedule") if callable(keywords.get(name))}
        self.options = given = Options.checked(**keywords) if options is None else options
        check_trainable(stack)
        shape, bounds = tuple(stack.layers[0].in_shape), stack.layers[0].output_range
        source = as_source(data, shape, bounds=bounds)
        self.fabric = launch(given.device, precision=given.precision) if fabric is None else fabric
        self.rank, self.ranks = self.fabric.global_rank, self.fabric.world_size
        self.device = self.fabric.device
        self.stack = stack.to(self.device)
        self._prepared = channels_last if use_channels_last(stack, given.memory_format) else nn.Identity()
        # A stack matched at a lower level leaves some encoders without a gradient; an optimiser skips those.
        self.optimizer = make_optimizer(functions.get("optimizer", given.optimizer), stack.parameters())
        self._guard, self._effect = Guard(stack), Effect(stack, self.optimizer)
        if self.ranks > 1:
            find_unused_parameters(self.fabric, stack, shape)
            sync_batchnorm(stack, self.device, self.ranks)
            randomness.separate_streams(self.fabric)
        self._place = {"rank": self.rank, "ranks": self.ranks}
        reading = {"dtype": stack.prior.anchor.dtype, "bounds": bounds, **self._place}
        self.loader = Loader(source, given.batch_size, given.seed, self.device, given.workers, **reading)
        self.validation = None if validation is None else as_source(validation, shape, "validation", bounds)
        self.steps_per_epoch = -(-len(self.loader) // given.accumulate)
        self.epochs, self.total_steps = given.epochs, given.epochs * self.steps_per_epoch
        schedule = functions.get("schedule", given.schedule)
        self.schedule = None if schedule is None else make_schedule(schedule, self.optimizer, max(1, self.total_steps))
        self.average = None if given.ema is None else Average(stack, given.ema)
        context = training_context(stack, compile=given.compile, checkpoint=given.checkpoint_activations)
        self.objective = TrainingObjective(stack, context, **self._place)
        self._module, self._optimizer = self.fabric.setup(self.objective, self.optimizer)
        self.scale = LossScale(self.fabric)
        self.step = 0  # steps behind us
        self.tally = Tally(given.skip_bad_steps, float16=self.scale.scaler is not None)
        # Asked once a step; the largest answer of all processes is the step's `signal`, so that they stop or save at the same step.
        self.signal: Callable[[], int | None] = lambda: None

    def __len__(self) -> int:
        """Returns the steps in all, those already taken included."""
        return self.total_steps

    @property
    def skipped(self) -> int:
        """Steps left out so far, for something in them was not finite."""
        return self.tally.skipped

    @property
    def epoch(self) -> int:
        """The epoch of the last step taken, counted from 1; 0 before the first."""
        return -(-self.step // self.steps_per_epoch)

    def __iter__(self) -> Iterator[Step]:
        try:
            while self.step < self.total_steps:
                done, start = divmod(self.step, self.steps_per_epoch)
                reader = self.loader.epoch(done + 1, start * self.options.accumulate)
                for index in range(start, self.steps_per_epoch):
                    with own_terms(self.device, gradients=True):  # whoever iterates may have set others meanwhile
                        if not self.stack.training:
                            self.stack.train()
                        step = self._advance(
                            self._batches(reader, done + 1, index), done + 1, last=index + 1 == self.steps_per_epoch
                        )
                    yield step
        finally:
            self.loader.close()

    def _batches(self, reader: Iterator[Tensor], epoch: int, index: int) -> Batches:
        """Reads the batches of a step, counted from 0 in its epoch."""
        first = index * self.options.accumulate
        own = list(itertools.islice(reader, self.options.accumulate))
        counts = [self.loader.rows(first + i) for i in range(len(own))]
        where = f"epoch {epoch}, step {self.step + 1}"
        return Batches(where, own, counts, lambda i: self.loader.indices(epoch, first + i))

    def _advance(self, batches: Batches, epoch: int, *, last: bool) -> Step:
        """Takes one step: the gradient, then the optimiser's step if all is finite, then the schedule's."""
        warm = min(1.0, (self.step + 1) / (self.options.warmup or 1))
        lr = warm * float(self.optimizer.param_groups[0]["lr"])
        self._guard.begin(batches.own[0])
        self.optimizer.zero_grad(set_to_none=True)
        with within_memory(batches.where):
            objectives, fault = self._gradient(batches)
        outcome = self._update(batches, objectives, warm) if fault is None else Outcome(nan_objective(self.stack), fault)
        if outcome.fault is not None:
            self._guard.undo()
            self.tally.skip(outcome.fault)
            self.scale.drop()
        self._step_schedule()
        self.step += 1
        if self.step == self.total_steps:
            self.conclude()
        skipped = outcome.fault is not None
        return Step(epoch, self.step, last, outcome.objective, lr, outcome.clipped, skipped, outcome.dropped, outcome.signal)

    def _gradient(self, batches: Batches) -> tuple[list[Objective], StepError | None]:
        """Evaluates a step's batches and adds up their gradients, averaged over processes with the last one."""
        objectives: list[Objective] = []
        for x, count in zip(batches.own, batches.counts, strict=True):
            more = len(objectives) + 1 < len(batches.own)
            with self.fabric.no_backward_sync(self._module, enabled=self.ranks > 1 and more):
                try:
                    with peers():
                        loss = self._module(self._prepared(x), count)
                except (ValueError, RuntimeError, ArithmeticError) as error:
                    if self.ranks > 1:  # the others are waiting for what this one would have sent
                        raise
                    reason = explain_failure(self.stack, batches, len(objectives), error)
                    if isinstance(reason, StepError):
                        return [], reason
                    raise
                share = count / sum(batches.counts)
                with peers():
                    self.fabric.backward(loss if share == 1 else loss * share)
            assert self.objective.latest is not None
            objectives.append(self.objective.latest)
        return objectives, None

    def _update(self, batches: Batches, objectives: Sequence[Objective], warm: float) -> Outcome:
        """Looks at loss and gradient, once on the device, and takes the optimiser's step if both are finite."""
        self.scale.unscale(self.optimizer)
        norm = self._norm()
        objective, signals = combined(self.stack, objectives, batches.counts, self.rank, self.ranks, self.signal() or 0)
        loss, gradient, *received = torch.cat([torch.stack([objective.loss.float(), norm.float()]), signals]).tolist()
        signal = int(max(received))
        if math.isfinite(loss) and math.isfinite(gradient):
            clipped = self._take(warm, norm)
            self.tally.take(batches.where, futile=self._effect.futile(gradient))
            return Outcome(objective, clipped=clipped, signal=signal)
        if math.isfinite(loss) and self.scale.overflowed(batches.where):
            self.tally.dropped += 1
            return Outcome(objective, dropped=True, signal=signal)
        return Outcome(objective, explain(self.stack, batches, [*objectives, objective]), signal=signal)

    def _norm(self) -> Tensor:
        """Returns the norm of the gradient where it is clipped; otherwise any number that is finite only if the gradient is."""
        if self.options.clip_gradients is None:
            return self._effect.gradient_norm()
        return norm_of_gradient(self.stack.parameters(), self.device)

    def _take(self, warm: float, norm: Tensor) -> Tensor | float:
        """Takes the optimiser's step, and returns the factor by which gradients were clipped."""
        limit = self.options.clip_gradients
        if limit is not None:
            clip_grads_with_norm_(self.stack.parameters(), limit, norm)
        with warming_up(self.optimizer, warm):
            self._optimizer.step()
        self.scale.in_a_row = 0
        if self.average is not None:
            self.average.update()
        return 1.0 if limit is None else (limit / (norm + 1e-6)).clamp(max=1.0)

    def _step_schedule(self) -> None:
        if self.schedule is None or self.step + 1 >= self.total_steps:
            return
        with warnings.catch_warnings():
            if self.tally.taken <= self.step:  # torch remarks on a schedule whose first step comes before the optimiser's
                warnings.simplefilter("ignore")
            self.schedule.step()

    def evaluate(self, x: Tensor, count: int) -> Objective:
        """Evaluates the objective as training does, without gradients, on a batch of `count` rows of which `x` are this process's."""
        with torch.no_grad(), self.fabric.autocast():
            self.objective(self._prepared(x), count)
        assert self.objective.latest is not None
        return combined(self.stack, [self.objective.latest], [count], self.rank, self.ranks)[0]

    def conclude(self) -> None:
        """Ends training here; errors as for `Tally.conclude`."""
        self.tally.conclude(self.step, unmoved=self._effect.unmoved())

    def averaged(self) -> AbstractContextManager[None]:
        """Runs the block with the averaged parameters in the stack, if an average is kept: what evaluation uses."""
        return nullcontext() if self.average is None else self.average.in_place()

    def validate(self) -> dict[str, float]:
        """Returns the objective's terms on the held-out examples, with averaged parameters if there are any: `validation/loss`, …"""
        if self.validation is None:
            raise DataError("no examples are held out: give `validation` to fit, or train.validation in a config")
        size, seed = self.options.batch_size, self.options.seed
        with self.averaged(), own_terms(self.device):
            return validate(self.stack, self.validation, self.evaluate, batch_size=size, seed=seed, **self._place)

    def gradient_norms(self, step: Step) -> dict[str, float]:
        """Returns the norm of each level's gradient at the step just taken, before clipping: `gradient/i`, i = 1 … N."""
        values = (level_gradient_norms(self.stack) / step.clipped).tolist()
        return {f"gradient/{i}": value for i, value in enumerate(values, start=1)}

    def state(self) -> dict[str, Any]:
        """Returns what decides how training goes on: tensors and plain values. All processes call it together, and get the same."""
        return {
            "model": self.stack.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "precision": self.scale.state(),
            "rng": randomness.state(self.fabric),
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "total_steps": self.total_steps,
            **self.tally.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state()`; `TrainingError` if it is of another model, or an epoch has another number of steps now."""
        if state["steps_per_epoch"] != self.steps_per_epoch:
            raise TrainingError(
                f"the saved run took {state['steps_per_epoch']} steps an epoch, this one would take {self.steps_per_epoch}: "
                "the data or the batch size have changed"
            )
        load_model(self.stack, state)
        if self.average is not None:
            if not state.get("average"):
                raise TrainingError("the saved run kept no average of its parameters, so none can go on; leave ema out")
            self.average.restore(state["average"])
        restore_optimizer(self.optimizer, self.schedule, state, self.total_steps)
        self.scale.restore(state.get("precision") or {})
        self.step = state["step"]
        self.tally.restore(state)
        randomness.restore(self.fabric, state["rng"], key=(self.options.seed, self.step))


fit = Fit  # a verb for whoever writes `for step in fit(…)`
