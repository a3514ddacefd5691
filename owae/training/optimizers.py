"""Optimisers and schedules of torch by name: their options are checked before anything is trained, then they are made.

An option's type is that of its default: a number is a number, a pair has two. All else (`betas` below 1, momentum for a one-cycle
schedule) torch itself checks, on an optimiser of two dummy parameters.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field, create_model
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from owae.errors import ConfigError, suggestion
from owae.registry.problems import STRICT, canonical, mistake, read_tagged

logger = logging.getLogger(__name__)

OptimizerSpec = Mapping[str, Any] | Callable[[Iterable[Tensor]], Optimizer]
ScheduleSpec = Mapping[str, Any] | Callable[[Optimizer], LRScheduler]
Kind = Literal["optimizer", "schedule"]

_BASES: dict[str, tuple[Any, type]] = {"optimizer": (torch.optim, Optimizer), "schedule": (torch.optim.lr_scheduler, LRScheduler)}
# Those that need a closure, sparse gradients, a metric, a function or other schedules.
_REFUSED = {"LBFGS", "SparseAdam"} | {"ChainedScheduler", "LambdaLR", "MultiplicativeLR", "ReduceLROnPlateau", "SequentialLR"}
# Options under which torch's schedules take the number of steps they span; filled in where a spec leaves them out.
_SPANS = ("total_steps", "T_max", "total_iters")
_SUPPLIED = {"total_steps", "epochs", "steps_per_epoch", "last_epoch"}  # never a config's: the trainer knows the steps, and resumes
# What a schedule sets in a parameter group.
_SCHEDULED = ("lr", "initial_lr", "momentum", "betas", "max_lr", "min_lr", "base_momentum", "max_momentum")
_IMPLEMENTATIONS = {"foreach", "fused", "capturable", "differentiable"}
_POSITIVE = {"lr", "max_lr", "base_lr"}

_Number = int | float
_Positive = Annotated[float, Field(gt=0)]


def names(kind: Kind) -> list[str]:
    """Lists the optimisers of torch that a plain loop can step, or the schedules that depend on the number of steps alone."""
    module, base = _BASES[kind]
    found = {name: cls for name, cls in vars(module).items() if isinstance(cls, type) and issubclass(cls, base) and cls is not base}
    return sorted(name for name in found if not name.startswith("_") and name not in _REFUSED)


@cache
def options_of(kind: Kind, name: str) -> type[BaseModel]:
    """Returns the options of an optimiser or a schedule that a config can set; `ConfigError` if there is none of that name."""
    cls, _ = _found(kind, {"name": name})
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(cls).parameters.values())[1:]:
        default = ... if parameter.default is parameter.empty else parameter.default
        annotation = _annotation(default)
        if parameter.name in _POSITIVE:
            annotation = _Positive | list[_Positive] if default is ... else _Positive
        if parameter.name not in _SUPPLIED:
            fields[parameter.name] = (annotation, None if parameter.name == "T_max" else default)
    return create_model(f"{cls.__name__}Options", __config__=STRICT, **fields)


def checked_optimizer(value: object) -> dict[str, Any]:
    """Checks an optimiser as a config has it, `{name, lr, …}`, Adam unless named, and returns it with every default."""
    spec = _checked("optimizer", {"name": "Adam", **value} if isinstance(value, Mapping) else value)
    with _torchs_words(spec["name"]):
        _trial(spec)
    return spec


def checked_schedule(value: object, optimizer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Checks a schedule as a config has it, `{name, …}`, on a checked optimiser if there is one, and returns it with every default."""
    spec = _checked("schedule", value)
    if optimizer is not None:
        with _torchs_words(f"lr_scheduler.{spec['name']}"):
            make_schedule(spec, _trial(optimizer), 1000)
    return spec


def _checked(kind: Kind, value: object) -> dict[str, Any]:
    name, options = read_tagged(value, "name", names(kind), lambda name: options_of(kind, name))
    values = canonical(options)[1]
    # Defaults that the trainer replaces by a choice of its own are left to it.
    own = {*_IMPLEMENTATIONS, *_SPANS} - options.model_fields_set
    return {"name": name, **{key: option for key, option in values.items() if key not in own}}


def _trial(spec: Mapping[str, Any]) -> Optimizer:
    """Makes the optimiser of a spec, of two dummy parameters."""
    base, options = _found("optimizer", spec)

    def keep_group(self: Optimizer, group: dict[str, Any]) -> None:
        self.param_groups.append({**self.defaults, **group})

    # torch's `add_param_group` imports its compiler, which takes about a second.
    cls = type(base.__name__, (base,), {"add_param_group": keep_group})
    return cls([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, 2))], **options)


@contextmanager
def _torchs_words(name: str) -> Iterator[None]:
    """Runs the block with whatever torch raises about its arguments told as a mistake in them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the real ones will warn
            yield
    except Exception as error:
        raise mistake(f"torch.optim.{name}: {error.__cause__ or error}") from error


def _found(kind: Kind, spec: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Returns the class that a spec names, Adam unless it names one, and its options."""
    options = dict(spec)
    name = options.pop("name", "Adam" if kind == "optimizer" else "")
    if name not in names(kind):
        refused = " needs what a config cannot give;" if name in _REFUSED else ""
        raise ConfigError(f"found '{name}';{refused} {suggestion(name, names(kind))}")
    return getattr(_BASES[kind][0], name), options


def _annotation(default: Any) -> Any:
    """Returns what an option can be, by its default; torch's annotations hold tensors and functions, or are missing."""
    if default is ...:
        return _Number | list[_Number]
    if isinstance(default, tuple):
        return tuple[tuple(map(_annotation, default))]
    if isinstance(default, bool | str | float):
        return type(default)
    return _Number if isinstance(default, int) else Any


def make_optimizer(spec: OptimizerSpec, parameters: Iterable[Tensor]) -> Optimizer:
    """Makes an optimiser from `{name, lr, …}`, or from a function of the parameters.

    Where torch has a fused step for it, that is used: the same arithmetic in one pass over the parameters.
    """
    if callable(spec):
        return _made(spec(parameters), Optimizer, "optimizer")
    cls, options = _found("optimizer", spec)
    if "fused" in inspect.signature(cls).parameters and not _IMPLEMENTATIONS & set(options):
        options["fused"] = True
    return _call(cls, parameters, options)


def make_schedule(spec: ScheduleSpec, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Makes a schedule, stepped once an optimiser step, from `{name, …}` or from a function of the optimiser.

    `total_steps`, `T_max` or `total_iters` is the whole of training unless the spec says otherwise.
    """
    if callable(spec):
        return _made(spec(optimizer), LRScheduler, "schedule")
    cls, options = _found("schedule", spec)
    for span in _SPANS:
        if span in inspect.signature(cls).parameters and not {span, "epochs", "steps_per_epoch"} & set(options):
            options[span] = total_steps
            break
    return _call(cls, optimizer, options)


def _made(found: Any, kind: type, name: str) -> Any:
    """Returns what a user's function made; `ConfigError` if it made something else."""
    if not isinstance(found, kind):
        raise ConfigError(f"{name}: the function returns a {type(found).__name__}; a torch.optim {kind.__name__} would work")
    return found


def _call(cls: Any, first: object, options: dict[str, Any]) -> Any:
    try:
        return cls(first, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{cls.__name__}({', '.join(f'{k}={v!r}' for k, v in options.items())}): {error}") from error


def restore_optimizer(optimizer: Optimizer, schedule: LRScheduler | None, state: dict[str, Any], total_steps: int) -> None:
    """Puts an optimiser and its schedule where a training's `state()` has them.

    A schedule that spans another number of steps now is stretched: it is taken to where it stands after the steps behind it.
    """
    if schedule is None or state["schedule"] is None or state["total_steps"] == total_steps:
        optimizer.load_state_dict(state["optimizer"])
        if schedule is not None and state["schedule"] is not None:
            schedule.load_state_dict(state["schedule"])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimiser takes no step meanwhile, which torch would remark on
            for _ in range(state["step"]):
                schedule.step()
        scheduled = [{key: group[key] for key in _SCHEDULED if key in group} for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, values in zip(optimizer.param_groups, scheduled, strict=True):
            group.update(values)
        old, new = state["optimizer"]["param_groups"][0]["lr"], optimizer.param_groups[0]["lr"]
        text = "the schedule spans %d steps now, instead of %d: the learning rate goes on at %.3g instead of %.3g"
        logger.warning(text, total_steps, state["total_steps"], new, old)
    # A fused step takes for granted that moments lie in memory as their parameters do.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


@contextmanager
def warming_up(optimizer: Optimizer, share: float) -> Iterator[None]:
    """Runs the block with every learning rate multiplied by a share, which the schedule does not see."""
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
