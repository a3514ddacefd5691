"""Optimisers and schedules of torch by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from owae.errors import ConfigError, suggestion

OptimizerSpec = Mapping[str, Any] | Callable[[Iterable[Tensor]], torch.optim.Optimizer]
ScheduleSpec = Mapping[str, Any] | Callable[[torch.optim.Optimizer], LRScheduler]

# The names under which torch's schedules take the number of steps they span; filled in where a spec leaves them out.
_SPANS = ("total_steps", "T_max", "total_iters")


def optimizer_names() -> list[str]:
    return sorted(name for name, cls in vars(torch.optim).items() if _concrete(cls, torch.optim.Optimizer))


def schedule_names() -> list[str]:
    """Schedules that depend on nothing but the number of steps taken."""
    found = vars(torch.optim.lr_scheduler)
    return sorted(
        name for name, cls in found.items() if _concrete(cls, LRScheduler) and name not in ("ReduceLROnPlateau", "LRScheduler")
    )


def make_optimizer(spec: OptimizerSpec, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """An optimiser from `{name, lr, …}`, or from a function of the parameters.

    Where torch has a fused step for it, that is used: the same arithmetic in one pass over the parameters.
    """
    if callable(spec):
        return spec(parameters)
    options = dict(spec)
    cls = _class(options.pop("name", "Adam"), torch.optim, optimizer_names())
    if "fused" in inspect.signature(cls).parameters and not {"fused", "foreach", "capturable", "differentiable"} & set(options):
        options["fused"] = True
    return _call(cls, parameters, options)


def make_schedule(spec: ScheduleSpec, optimizer: torch.optim.Optimizer, total_steps: int) -> LRScheduler:
    """A schedule, stepped once an optimiser step, from `{name, …}` or from a function of the optimiser.

    `total_steps`, `T_max` or `total_iters` is the whole of training unless the spec says otherwise.
    """
    if callable(spec):
        return spec(optimizer)
    options = dict(spec)
    cls = _class(options.pop("name", ""), torch.optim.lr_scheduler, schedule_names())
    for span in _SPANS:
        if span in inspect.signature(cls).parameters and not {span, "epochs", "steps_per_epoch"} & set(options):
            options[span] = total_steps
            break
    return _call(cls, optimizer, options)


def _class(name: str, module: object, names: list[str]) -> type:
    if name not in names:
        raise ConfigError(f"found '{name}'; {suggestion(name, names)}")
    return getattr(module, name)


def _call(cls: type, first: object, options: dict[str, Any]) -> Any:
    try:
        return cast(Any, cls)(first, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{cls.__name__}({', '.join(f'{k}={v!r}' for k, v in options.items())}): {error}") from error


def _concrete(cls: object, base: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, base) and cls is not base and not cls.__name__.startswith("_")
