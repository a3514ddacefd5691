"""Checks what components are made with and what they return, in words that name the component."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from owae.errors import PluginError, suggestion

# Torch's, numpy's and Python's generators are the process's: while one thread has seeded them, or looks whether someone has, no other
# draws.
GENERATORS = threading.RLock()


def check_choices(cls: type, engine: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Refuses an argument whose annotation lists the values it takes (`Literal`) and that is none of them, with a `ValueError`."""
    if cls.__init__ is object.__init__ and (engine or options):
        raise TypeError(f"{cls.__name__}() takes no arguments")  # Python does not say so of a class with a `__new__`
    choices = _choices(cls.__init__)
    if not choices or not (engine or options):
        return
    try:
        given = inspect.signature(cls.__init__).bind_partial(None, *engine, **options).arguments
    except TypeError:
        return  # the constructor says it better
    for name, (values, others) in choices.items():
        value = given.get(name, values[0])
        if any(type(value) is type(choice) and value == choice for choice in values):
            continue
        # Beside the values an annotation may name types. A string is taken where one of them is a string's, None where None is one, and
        # anything else where any other is named, for then the constructor judges it.
        taken = others & {str, object, Path} if isinstance(value, str) else others - {NoneType} or type(value) in others
        if not taken:
            raise ValueError(f"{cls.__name__}: {name} is {value!r}; {suggestion(str(value), map(str, values))}")


@cache
def _choices(constructor: Callable[..., None]) -> dict[str, tuple[tuple[Any, ...], set[Any]]]:
    """Returns, for each argument that lists values, these values and the other types that it takes."""
    try:
        hints = get_type_hints(constructor)
    except NameError:
        return {}  # told when the class is registered
    found = {}
    for name, hint in hints.items():
        members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        values = tuple(value for member in members if get_origin(member) is Literal for value in get_args(member))
        others = {object if member is Any else member for member in members if get_origin(member) is not Literal}
        if values:
            found[name] = values, others
    return found


@contextmanager
def neutral(component: Any, *inputs: Any) -> Iterator[None]:
    """Runs a call of a component on tensors or distributions; a `PluginError` names it if it writes into them or seeds torch's generator.

    Neither reads a value: a tensor counts what is written into it, and the generator tells its seed.
    """
    if torch.compiler.is_compiling():
        yield
        return
    given = [part for each in inputs for part in ((each,) if isinstance(each, Tensor) else getattr(each, "__dict__", {}).values())]
    tensors = [part for part in given if isinstance(part, Tensor) and not part.is_inference()]
    with GENERATORS:  # another thread's seed is not this component's
        seed, versions, gradients = torch.initial_seed(), [tensor._version for tensor in tensors], torch.is_grad_enabled()
        yield
        seeded = torch.initial_seed() != seed
    called = f"{component.interface} '{component.name}'"
    if torch.is_grad_enabled() != gradients:
        torch.set_grad_enabled(gradients)
        raise PluginError(
            f"{called} switches gradients {'off' if gradients else 'on'} for all that follows; `with torch.no_grad():` would work"
        )
    if seeded:
        raise PluginError(
            f"{called} seeds torch's global generator, and with it all later draws; draw without a seed, or from a torch.Generator"
        )
    if [tensor._version for tensor in tensors] != versions:
        raise PluginError(
            f"{called} writes into what it is given, which others go on to use; writing into a copy (x.clone()) would work"
        )


def checked_result(component: Any, value: object, shape: Sequence[int], differentiable: Callable[[], bool]) -> Tensor:
    """Returns what a cost, a divergence or a regulariser gave, if it is a tensor of a shape, with a gradient where one is due.

    No value is read, so that it costs a microsecond and no synchronisation. Otherwise a `PluginError` names the component.
    """
    if not isinstance(value, Tensor):
        found = f"a {type(value).__name__}"
    elif value.shape != shape:
        found = f"a tensor of shape {tuple(value.shape)}"
    elif not value.is_floating_point():
        found = f"a tensor of {str(value.dtype).removeprefix('torch.')}"
    elif not value.requires_grad and torch.is_grad_enabled() and differentiable():
        found = "a value without a gradient: it was detached, or computed without torch"
    else:
        return value
    right = f"a tensor of shape {tuple(shape)}: " + (f"one number for each of the {shape[0]} rows" if shape else "one number")
    raise PluginError(f"{component.interface} '{component.name}' returns {found}; it should return {right}, computed by torch")
