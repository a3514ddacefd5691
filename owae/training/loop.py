"""The training loop as an iterator of steps: one joint step on Eq. 14 (and Eq. 17) at a time.

    for step in fit(stack, data, epochs=10):
        ...

Whoever iterates decides what to log, draw and save; the loop itself writes nothing. Its state is a tree of tensors and plain
values, and a loop that is given it goes on to the bit, on one CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from owae.checks import unchecked
from owae.errors import TrainingError
from owae.interfaces import DataSource
from owae.stack import Objective, Stack
from owae.training.guards import check_data, check_gradients, check_objective, explain_failure, watched_parameters
from owae.training.loader import Loader, as_source
from owae.training.optim import OptimizerSpec, ScheduleSpec, fast_forward, make_optimizer, make_schedule

logger = logging.getLogger(__name__)

ADAM = {"name": "Adam", "lr": 1e-3}


@dataclass(frozen=True)
class Step:
    """One optimiser step, just taken.

    Attributes:
        epoch: The epoch it belongs to, counted from 1.
        step: Its number since the start of training, counted from 1.
        last: Whether it ends its epoch.
        objective: The objective before the step.
        lr: The learning rate of the first parameter group that it was taken with.
        clipped: The factor by which gradients were scaled down: 1 if they were not.
    """

    epoch: int
    step: int
    last: bool
    objective: Objective
    lr: float
    clipped: Tensor | float


class Fit:
    """Train a stack, step by step: iterate the result.

    Args:
        stack: What to train, in place; moved to the device.
        data: A source, or a tensor (N, *x) of floats or bytes (0…255 for 0…1).
        epochs: Passes over the data.
        batch_size: Rows a step, at least 2; also the size of the samples that the divergence compares.
        optimizer: `{"name": "Adam", "lr": 1e-3, …}` with any of torch's, or a function of the parameters.
        schedule: `{"name": "OneCycleLR", "max_lr": 3e-3, …}` with any of torch's, stepped once a step; or a function of the
            optimiser.
        clip_gradients: Largest norm of the whole gradient.
        seed: Decides the order of the data; noise comes from torch's generator (`torch.manual_seed`).
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: Processes that read examples; see `Loader`.

    Raises:
        TrainingError: While iterating: a term of the objective or a gradient is not finite, at the step where it happens and
            before the parameters are touched.
        DataError: Too few examples, or batches of one.
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
        clip_gradients: float | None = None,
        seed: int = 0,
        device: str = "auto",
        workers: int = 0,
    ) -> None:
        self.stack = stack.to(choose_device(device))
        self.device = next(stack.parameters()).device
        self.loader = Loader(as_source(data), batch_size, seed, self.device, workers)
        self.epochs, self.clip_gradients = epochs, clip_gradients
        self.total_steps = epochs * len(self.loader)
        # A stack matched at a lower level leaves some encoders without a gradient; an optimiser skips those.
        self.optimizer = make_optimizer(ADAM if optimizer is None else optimizer, stack.parameters())
        self.schedule = None if schedule is None else make_schedule(schedule, self.optimizer, max(1, self.total_steps))
        self._watched = watched_parameters(self.stack)
        self.step = 0  # steps taken

    def __len__(self) -> int:
        """Steps in all, those already taken included."""
        return self.total_steps

    @property
    def epoch(self) -> int:
        """The epoch of the last step taken, counted from 1; 0 before the first."""
        return -(-self.step // len(self.loader))

    def __iter__(self) -> Iterator[Step]:
        try:
            while self.step < self.total_steps:
                done, start = divmod(self.step, len(self.loader))
                for index, x in enumerate(self.loader.epoch(done + 1, start), start=start):
                    if not self.stack.training:  # whoever iterates may have looked at the model meanwhile
                        self.stack.train()
                    yield self._advance(x, done + 1, index + 1 == len(self.loader))
        finally:
            self.loader.close()

    def _advance(self, x: Tensor, epoch: int, last: bool) -> Step:
        where = f"epoch {epoch}, step {self.step + 1}"
        check_data(x, where)
        self.optimizer.zero_grad(set_to_none=True)
        with unchecked():
            try:
                objective = self.stack(x)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                raise explain_failure(self.stack, x, where, error) from error
        check_objective(objective, where)
        objective.loss.backward()
        clipped = self._clip()
        check_gradients(self.stack, self._watched, where)
        lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        if self.schedule is not None and self.step + 1 < self.total_steps:
            self.schedule.step()
        self.step += 1
        return Step(epoch, self.step, last, objective, float(lr), clipped)

    def _clip(self) -> Tensor | float:
        if self.clip_gradients is None:
            return 1.0
        norm = clip_grad_norm_(self.stack.parameters(), self.clip_gradients)
        return (self.clip_gradients / (norm + 1e-6)).clamp(max=1.0)

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
        rng: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "model": self.stack.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "rng": rng,
            "step": self.step,
            "steps_per_epoch": len(self.loader),
            "total_steps": self.total_steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`.

        Raises:
            TrainingError: It is of another model, or an epoch has another number of batches now.
        """
        if state["steps_per_epoch"] != len(self.loader):
            raise TrainingError(
                f"the saved run took {state['steps_per_epoch']} steps an epoch, this one would take {len(self.loader)}: "
                "the data or the batch size have changed"
            )
        load_model(self.stack, state)
        if self.schedule is None or state["schedule"] is None or state["total_steps"] == self.total_steps:
            self.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None and state["schedule"] is not None:
                self.schedule.load_state_dict(state["schedule"])
        else:
            logger.warning("the schedule spans %d steps now, instead of %d", self.total_steps, state["total_steps"])
            rates = fast_forward(self.optimizer, self.schedule, state["step"])
            self.optimizer.load_state_dict(state["optimizer"])
            for group, scheduled in zip(self.optimizer.param_groups, rates, strict=True):
                group.update(scheduled)
        self.step = state["step"]
        torch.set_rng_state(state["rng"]["cpu"].cpu())
        if self.device.type == "cuda" and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"].cpu(), self.device)


fit = Fit  # a verb for whoever writes `for step in fit(…)`


def load_model(stack: Stack, state: dict[str, Any]) -> None:
    """Put the parameters of a training state into a stack.

    Raises:
        TrainingError: A tensor is missing, has another shape or is not the stack's; the message names it.
    """
    try:
        stack.load_state_dict(state["model"])
    except (RuntimeError, KeyError) as error:
        raise TrainingError(f"the checkpoint does not fit the model: {error}") from error


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" takes an accelerator if there is one.

    Raises:
        TrainingError: This machine or this build of torch has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind, _, index = name.partition(":")
    here = [kind for kind, there in available.items() if there]
    if not available.get(kind, False) or (index and kind == "cuda" and not index.isdigit()):
        raise TrainingError(f"device '{name}' is not available here; auto, {', '.join(here)} would work")
    if index and kind == "cuda" and int(index) >= torch.cuda.device_count():
        raise TrainingError(
            f"device '{name}' is not available here; this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0"
        )
    return torch.device(name)
