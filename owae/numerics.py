"""Checks the samples that divergences are given, and keeps costs and divergences in float32 at least."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from owae.distributions import at_least_float32
from owae.errors import ConfigError

# Squares of larger entries leave no digits for the distances between rows, and beyond 1e19 they overflow float32.
LARGEST = 1e15

_validating: ContextVar[bool] = ContextVar("owae_validating", default=True)


@contextmanager
def unchecked(wanted: bool = True) -> Iterator[None]:
    """Runs the block without reading values back in `checked_samples`, if wanted.

    The training loop does so: it looks at every term of the objective itself, and a look at the samples would stall a GPU.
    """
    token = _validating.set(_validating.get() and not wanted)
    try:
        yield
    finally:
        _validating.reset(token)


def checked_samples(**samples: Tensor) -> tuple[Tensor, ...]:
    """The samples, float32 at least, if a divergence can compare them.

    Args:
        samples: Tensors (n, *event) under the names that messages shall use; all with one event shape.

    Raises:
        ValueError: An argument is not floating, has no rows or no event axis, differs in its event shape, holds a NaN or an
            infinity, or holds entries beyond 1e15. The message names the argument.
    """
    (first, reference), *_ = samples.items()
    for name, sample in samples.items():
        if not sample.is_floating_point():
            raise ValueError(f"{name} has dtype {sample.dtype}; a divergence needs floating-point samples, such as {name}.float()")
        if sample.ndim < 2:
            raise ValueError(f"{name} has shape {tuple(sample.shape)}; samples need a row each: (n, *event)")
        if sample.shape[1:] != reference.shape[1:]:
            raise ValueError(
                f"{name} has events of shape {tuple(sample.shape[1:])}, {first} of shape {tuple(reference.shape[1:])}: "
                "both sides must live on the same level"
            )
        if sample.numel() == 0:
            raise ValueError(f"{name} is empty, shape {tuple(sample.shape)}; a divergence needs at least one sample on each side")
        if _validating.get():
            _refuse_unusable_values(name, sample.detach())
    return tuple(at_least_float32(sample) for sample in samples.values())


def check_events(name: str, events: Sequence[int], expected: Sequence[int]) -> None:
    """Refuses events of another shape than expected, which broadcasting would compare in silence.

    Args:
        name: What messages call the tensor.
        events: Shape of its events, without the batch axis.
        expected: The shape that they should have.

    Raises:
        ValueError: They differ. The message names both shapes and, where one exists, the call that brings the tensor into shape.
    """
    events, expected = tuple(events), tuple(expected)
    if events == expected:
        return
    rows = ", ".join(["B", *map(str, expected)])
    fits = ""
    if len(events) == len(expected) > 1 and events == (*expected[1:], expected[0]):
        fits = f"; {name}.movedim(-1, 1) would work, if its last axis holds the channels"
    elif math.prod(events) == math.prod(expected):
        fits = f"; {name}.reshape({', '.join(['-1', *map(str, expected)])}) would work, if its numbers are in that order"
    raise ValueError(f"{name} has events of shape {events}, expected {expected}, so ({rows}){fits}")


def _refuse_unusable_values(name: str, sample: Tensor) -> None:
    largest = sample.abs().amax().item()  # NaN wins over any number, so one reduction tells all three cases
    if largest <= LARGEST:
        return
    flat = sample.flatten(1)
    bad = (~(flat.abs() <= LARGEST)).any(1).nonzero()[:, 0]
    rows = f"{len(bad)} of {len(sample)} rows (first: row {bad[0].item()})"
    if bool(torch.isfinite(flat).all()):
        raise ValueError(f"{name} holds entries as large as {largest:.2g} in {rows}; distances need entries below {LARGEST:.0e}")
    raise ValueError(f"{name} holds NaN or infinity in {rows}; every sample must be finite")


def at_least(least: int, **numbers: int) -> None:
    """Refuse numbers below `least`, under the names that messages shall use.

    Raises:
        ConfigError: A number is smaller.
    """
    for name, number in numbers.items():
        if number < least:
            raise ConfigError(f"{name} is {number}; it takes a whole number from {least} on")


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Runs the block with autocast off, so that costs and divergences are computed in float32 at least."""
    if torch.is_autocast_enabled(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield
