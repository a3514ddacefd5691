"""All that decides how training goes on, as a tree of tensors and plain values, and back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from owae.errors import TrainingError
from owae.model.stack import Stack
from owae.training.memory_format import match
from owae.training.optimizers import fast_forward

if TYPE_CHECKING:
    from owae.training.loop import Fit

logger = logging.getLogger(__name__)


def state(fit: Fit) -> dict[str, Any]:
    """The state of a training between two steps; the same on every process."""
    rng: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if fit.device.type == "cuda":
        rng["cuda"] = torch.cuda.get_rng_state(fit.device)
    return {
        "model": fit.stack.state_dict(),
        "average": None if fit.average is None else fit.average.state(),
        "optimizer": fit.optimizer.state_dict(),
        "schedule": None if fit.schedule is None else fit.schedule.state_dict(),
        "precision": fit.precision.state(),
        "rng": rng,
        "step": fit.step,
        "steps_per_epoch": fit.steps_per_epoch,
        "total_steps": fit.total_steps,
        "skipped": fit.skipped,
        "bad_in_a_row": fit.bad_in_a_row,
    }


def restore(fit: Fit, saved: dict[str, Any]) -> None:
    """Put a training where it was.

    Raises:
        TrainingError: The state is of another model, or an epoch has another number of steps now.
    """
    if saved["steps_per_epoch"] != fit.steps_per_epoch:
        raise TrainingError(
            f"the saved run took {saved['steps_per_epoch']} steps an epoch, this one would take {fit.steps_per_epoch}: "
            "the data or the batch size have changed"
        )
    load_model(fit.stack, saved)
    if fit.average is not None:
        if not saved.get("average"):
            raise TrainingError("the saved run kept no average of its parameters, so none can go on; leave ema out")
        fit.average.restore(saved["average"])
    if fit.schedule is None or saved["schedule"] is None or saved["total_steps"] == fit.total_steps:
        fit.optimizer.load_state_dict(saved["optimizer"])
        if fit.schedule is not None and saved["schedule"] is not None:
            fit.schedule.load_state_dict(saved["schedule"])
    else:
        logger.warning("the schedule spans %d steps now, instead of %d", fit.total_steps, saved["total_steps"])
        rates = fast_forward(fit.optimizer, fit.schedule, saved["step"])
        fit.optimizer.load_state_dict(saved["optimizer"])
        for group, scheduled in zip(fit.optimizer.param_groups, rates, strict=True):
            group.update(scheduled)
    match(fit.optimizer)
    fit.precision.restore(saved.get("precision") or {})
    fit.step = saved["step"]
    fit.skipped, fit.bad_in_a_row = saved.get("skipped", 0), saved.get("bad_in_a_row", 0)
    _restore_randomness(fit.device, saved["rng"])


def _restore_randomness(device: torch.device, rng: dict[str, Any]) -> None:
    torch.set_rng_state(rng["cpu"].cpu())
    if device.type == "cuda" and "cuda" in rng:
        torch.cuda.set_rng_state(rng["cuda"].cpu(), device)
    elif device.type != "cpu" or "cuda" in rng:
        logger.warning("the saved run drew its noise on another kind of device: from here on the noise is another")


def load_model(stack: Stack, saved: dict[str, Any], *, averaged: bool = False) -> None:
    """Put the parameters of a training state into a stack; where `averaged`, their moving average, if the state has one.

    Raises:
        TrainingError: A tensor is missing, has another shape or is not the stack's; the message names it.
    """
    average = (saved.get("average") or {}).get("parameters", {}) if averaged else {}
    try:
        stack.load_state_dict({**saved["model"], **average})
    except (RuntimeError, KeyError) as error:
        raise TrainingError(f"the checkpoint does not fit the model: {error}") from error
