"""Optimisers and schedules of torch by name, their arguments checked against their signatures before anything is trained.

The signature becomes a model, as a component's constructor does, but loosely: torch lets a rate be a tensor and leaves some
arguments without annotation. What only Python can say (tensors, functions) drops out, numbers must be numbers. What a signature
does not say (`betas` below 1, momentum for a one-cycle schedule) torch says itself, of an optimiser of two dummy parameters.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import operator
import types
import typing
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import torch
from pydantic import BaseModel, Field, create_model
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from owae.errors import ConfigError, suggestion
from owae.registry.options import STRICT

# The trainer's own: it chooses the implementation of a step, knows the steps that a schedule spans, and resumes.
_TRAINERS_CHOICE = {"foreach", "fused", "capturable", "differentiable", "T_max", "total_iters"}
_SUPPLIED = {"total_steps", "epochs", "steps_per_epoch", "last_epoch"}
_POSITIVE = {"lr", "max_lr", "base_lr"}
_PROBE_STEPS = 1000

_UNSAYABLE = object()  # the annotation of what TOML cannot hold
_NUMBER = int | float
_UNANNOTATED = bool | _NUMBER | list[_NUMBER]  # of an argument whose default says nothing either


class _Model(BaseModel):
    model_config = STRICT


def optimizer_names() -> list[str]:
    """The optimisers of torch that a plain loop can step: without a closure, on dense gradients."""
    return sorted(name for name, cls in _concrete(torch.optim, Optimizer) if name != "SparseAdam" and not _demands(cls.step))


def schedule_names() -> list[str]:
    """The schedules of torch that depend on the number of steps alone and whose arguments TOML can hold."""
    return sorted(
        name
        for name, cls in _concrete(torch.optim.lr_scheduler, LRScheduler)
        if not _demands(cls.step) and _first(cls) == "optimizer" and _can_be_said(cls)
    )


def find_optimizer(name: str) -> type[Optimizer]:
    """The optimiser of that name; `ConfigError` if there is none."""
    return _named(name, torch.optim, optimizer_names())


def find_schedule(name: str) -> type[LRScheduler]:
    """The schedule of that name; `ConfigError` if there is none."""
    return _named(name, torch.optim.lr_scheduler, schedule_names())


def optimizer_arguments(name: str) -> type[BaseModel]:
    """The arguments of an optimiser, except its parameters; `ConfigError` if there is none of that name."""
    return _arguments(find_optimizer(name))


def schedule_arguments(name: str) -> type[BaseModel]:
    """The arguments of a schedule that a config can set; `ConfigError` if there is none of that name."""
    return _arguments(find_schedule(name))


class Kind(NamedTuple):
    """What a config can name in one place: the names there are, and the class and the arguments of each."""

    names: Callable[[], list[str]]
    find: Callable[[str], type]
    arguments: Callable[[str], type[BaseModel]]


KINDS = {
    "optimizer": Kind(optimizer_names, find_optimizer, optimizer_arguments),
    "schedule": Kind(schedule_names, find_schedule, schedule_arguments),
}


def settled(values: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Arguments with all defaults, but for those defaults that the trainer replaces by a choice of its own."""
    return {name: value for name, value in values.items() if name in given or name not in _TRAINERS_CHOICE}


def probe(optimizer: dict[str, Any], schedule: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What torch itself refuses: ("optimizer" or "schedule", its words)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real ones will warn
        yield from _refusals(optimizer, schedule)


def _refusals(optimizer: dict[str, Any], schedule: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    options = dict(optimizer)
    base = getattr(torch.optim, options.pop("name"))
    # `add_param_group` alone pulls in torch's compiler, at a second or so: a probe keeps its groups by itself.
    cls = type(base.__name__, (base,), {"add_param_group": _keep_group})
    try:
        made = cls([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, 2))], **options)
    except Exception as error:  # whatever torch raises: it is about these arguments
        yield "optimizer", f"torch.optim.{base.__name__}: {error}"
        return
    if schedule is None:
        return
    options = dict(schedule)
    cls = getattr(torch.optim.lr_scheduler, options.pop("name"))
    for span in ("total_steps", "T_max"):
        if span in inspect.signature(cls).parameters:
            options.setdefault(span, _PROBE_STEPS)
    try:
        cls(made, **options)
    except Exception as error:
        yield "schedule", f"torch.optim.lr_scheduler.{cls.__name__}: {error}"


def _keep_group(self: Optimizer, group: dict[str, Any]) -> None:
    self.param_groups.append({**self.defaults, **group})


def _named(name: str, module: object, names: list[str]) -> type:
    if name not in names:
        refused = " needs what a config cannot give;" if hasattr(module, name) else ""
        raise ConfigError(f"found '{name}';{refused} {suggestion(name, names)}")
    return getattr(module, name)


@cache
def _arguments(cls: type) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (annotation, None if name == "T_max" else default)
        for name, (annotation, default) in _signature(cls).items()
        if annotation is not _UNSAYABLE and name not in _SUPPLIED
    }
    return create_model(f"{cls.__name__}Arguments", __base__=_Model, **fields)


def _signature(cls: type) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of each argument after the first; `...` for no default."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[2:]
    try:
        # Names that torch imports for type checkers only are looked up in the places they come from.
        hints = typing.get_type_hints(cls.__init__, localns={**vars(collections.abc), **vars(typing)})
    except NameError:
        hints = {}
    signature = {}
    for parameter in parameters:
        default = ... if parameter.default is parameter.empty else parameter.default
        annotation = _sayable(hints[parameter.name]) if parameter.name in hints else _guess(default)
        signature[parameter.name] = (_positive(annotation) if parameter.name in _POSITIVE else annotation, default)
    return signature


def _sayable(annotation: Any) -> Any:
    """The annotation without what TOML cannot hold."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (int, float, bool, str, type(None)) or origin is Literal:
        return annotation
    if origin in (Union, types.UnionType):
        kept = [member for member in map(_sayable, arguments) if member is not _UNSAYABLE]
        return _union(kept) if any(member is not type(None) for member in kept) else _UNSAYABLE
    if origin is tuple:
        return tuple[tuple(part if part is ... else _sayable(part) for part in arguments)]
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        member = _sayable(arguments[0])
        return _UNSAYABLE if member is _UNSAYABLE else list[member]
    return _UNSAYABLE


def _guess(default: Any) -> Any:
    """An annotation for an argument that has none."""
    if isinstance(default, bool | str):
        return type(default)
    if isinstance(default, int | float):
        return _NUMBER
    if isinstance(default, tuple):
        return tuple[tuple(_guess(item) for item in default)]
    return _NUMBER | list[_NUMBER] if default is ... else _UNANNOTATED


def _positive(annotation: Any) -> Any:
    if annotation in (float, int):
        return Annotated[annotation, Field(gt=0)]
    if get_origin(annotation) in (Union, types.UnionType):
        return _union(map(_positive, get_args(annotation)))
    if get_origin(annotation) is list:
        return list[_positive(get_args(annotation)[0])]
    return annotation


def _union(members: Iterable[Any]) -> Any:
    return functools.reduce(operator.or_, members)


def _concrete(module: object, base: type) -> list[tuple[str, type]]:
    return [
        (name, cls)
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base and not name.startswith("_")
    ]


def _first(cls: Any) -> str:
    return list(inspect.signature(cls.__init__).parameters)[1]


def _can_be_said(cls: type) -> bool:
    return all(annotation is not _UNSAYABLE for annotation, default in _signature(cls).values() if default is ...)


def _demands(step: Any) -> bool:
    """Whether a step needs an argument: a closure, a metric."""
    return any(
        parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        for parameter in list(inspect.signature(step).parameters.values())[1:]
    )
