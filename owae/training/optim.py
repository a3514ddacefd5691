"""Makes optimisers and schedules of torch by name."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from owae.errors import ConfigError
from owae.training.memory_format import match_parameters
from owae.training.torch_options import KINDS

logger = logging.getLogger(__name__)

OptimizerSpec = Mapping[str, Any] | Callable[[Iterable[Tensor]], torch.optim.Optimizer]
ScheduleSpec = Mapping[str, Any] | Callable[[torch.optim.Optimizer], LRScheduler]

# The names under which torch's schedules take the number of steps they span; filled in where a spec leaves them out.
_SPANS = ("total_steps", "T_max", "total_iters")
# What a schedule sets in a parameter group.
_SCHEDULED = ("lr", "initial_lr", "momentum", "betas", "max_lr", "min_lr", "base_momentum", "max_momentum")


def make_optimizer(spec: OptimizerSpec, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Makes an optimiser from `{name, lr, …}`, or from a function of the parameters.

    Where torch has a fused step for it, that is used: the same arithmetic in one pass over the parameters.
    """
    if callable(spec):
        return spec(parameters)
    options = dict(spec)
    cls = KINDS["optimizer"].find(options.pop("name", "Adam"))
    if "fused" in inspect.signature(cls).parameters and not {"fused", "foreach", "capturable", "differentiable"} & set(options):
        options["fused"] = True
    return _call(cls, parameters, options)


def make_schedule(spec: ScheduleSpec, optimizer: torch.optim.Optimizer, total_steps: int) -> LRScheduler:
    """Makes a schedule, stepped once an optimiser step, from `{name, …}` or from a function of the optimiser.

    `total_steps`, `T_max` or `total_iters` is the whole of training unless the spec says otherwise.
    """
    if callable(spec):
        return spec(optimizer)
    options = dict(spec)
    cls = KINDS["schedule"].find(options.pop("name", ""))
    for span in _SPANS:
        if span in inspect.signature(cls).parameters and not {span, "epochs", "steps_per_epoch"} & set(options):
            options[span] = total_steps
            break
    return _call(cls, optimizer, options)


def restore_optimizer(
    optimizer: torch.optim.Optimizer, schedule: LRScheduler | None, state: dict[str, Any], total_steps: int
) -> None:
    """Puts an optimiser and its schedule where a training's `state()` has them.

    A schedule that spans another number of steps now is stretched: it is taken to where it stands after the steps behind it.
    """
    if schedule is None or state["schedule"] is None or state["total_steps"] == total_steps:
        optimizer.load_state_dict(state["optimizer"])
        if schedule is not None and state["schedule"] is not None:
            schedule.load_state_dict(state["schedule"])
    else:
        logger.warning("the schedule spans %d steps now, instead of %d", total_steps, state["total_steps"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimiser takes no step meanwhile, which torch would remark on
            for _ in range(state["step"]):
                schedule.step()
        scheduled = [{key: group[key] for key in _SCHEDULED if key in group} for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, values in zip(optimizer.param_groups, scheduled, strict=True):
            group.update(values)
    match_parameters(optimizer)


@contextmanager
def warming_up(optimizer: torch.optim.Optimizer, share: float) -> Iterator[None]:
    """Runs the block with every rate multiplied by a share: a warm-up knows nothing of the schedule, and nothing of it is kept."""
    if share >= 1:
        yield
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * share
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _call(cls: type, first: object, options: dict[str, Any]) -> Any:
    try:
        return cast(Any, cls)(first, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{cls.__name__}({', '.join(f'{k}={v!r}' for k, v in options.items())}): {error}") from error
