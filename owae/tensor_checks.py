"""Checks tensors and arrays where they enter, and keeps costs and divergences in float32 at least.

Training data, what a stack encodes and decodes, and the samples of a divergence pass here: their shape, type, range and finiteness
are checked by these functions alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor

from owae.distributions import at_least_float32
from owae.errors import ConfigError, InputError

Range = tuple[float, float]
ArrayLike = Tensor | np.ndarray | Sequence[Any]  # what `as_tensor` takes

# Squares of larger entries leave no digits for the distances between rows, and beyond 1e19 they overflow float32.
LARGEST = 1e15
# Scales that examples commonly have, likeliest first: what to divide by is told from them.
_SCALES: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255), (0, 65535))

_validating: ContextVar[bool] = ContextVar("owae_validating", default=True)


@contextmanager
def unchecked(wanted: bool = True) -> Iterator[None]:
    """Runs the block without reading values back in `check_values`, if wanted.

    The training loop does so: it looks at every term of the objective itself, and reading the samples would stall a GPU.
    """
    token = _validating.set(_validating.get() and not wanted)
    try:
        yield
    finally:
        _validating.reset(token)


def as_tensor(name: str, data: object) -> Tensor:
    """Returns a tensor, an array or a sequence of them as one tensor of floats (of any precision) or bytes; booleans as 0 and 1.

    An array that is already in order is shared, not copied: a memory map stays on the disk.

    Raises:
        InputError: It is none of those, its parts differ in shape, or it holds other numbers; `name` is what the message calls it.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise InputError(f"{name}: found a masked array; {name}.filled(…), with a value for what is masked, would work")
    if not isinstance(data, Tensor | np.ndarray | list | tuple):
        other = ", as numpy.asarray makes of it," if hasattr(data, "__array__") else ","
        raise InputError(
            f"{name}: found a {type(data).__name__}; a tensor, an array{other} a sequence of them or a DataSource would work"
        )
    if isinstance(data, list | tuple):
        check_alike(name, data)
    try:
        if isinstance(data, list | tuple) and data and all(isinstance(part, Tensor) for part in data):
            data = torch.stack(list(data))
        tensor = data if isinstance(data, Tensor) else _from_array(np.asanyarray(data))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} cannot be read as one array (N, *shape): {error}") from error
    tensor = check_layout(name, tensor).detach()
    return tensor.float() if tensor.dtype == torch.bool else check_type(name, tensor)


def check_layout(name: str, x: Tensor) -> Tensor:
    """Returns a tensor whose numbers lie in memory, one for each place; `InputError` for another, with the call that would work."""
    found = (
        ("a nested tensor", f"torch.stack({name}.unbind())") if x.is_nested
        else ("a sparse tensor", f"{name}.to_dense()") if x.layout != torch.strided
        else ("a quantized tensor", f"{name}.dequantize()") if x.is_quantized
        else ("a tensor on the meta device, which holds no numbers", "one on the CPU or a GPU") if x.is_meta
        else None
    )  # fmt: skip
    if found:
        raise InputError(f"{name}: found {found[0]}; {found[1]} would work")
    return x


def check_alike(name: str, parts: Sequence[Any]) -> None:
    """Refuses parts of which some hold bytes and others floats, with an `InputError`: put together, 255 would mean itself."""
    of_bytes = [str(getattr(part, "dtype", None)).endswith("uint8") for part in parts]
    if any(of_bytes) and not all(of_bytes):
        raise InputError(
            f"{name}: part {of_bytes.index(True)} holds bytes (uint8), which mean 0…255, part {of_bytes.index(False)} does not; parts "
            "of one type would work"
        )


def _from_array(array: np.ndarray) -> Tensor:
    if array.dtype.kind == "f" and (array.dtype.itemsize > 8 or not array.dtype.isnative):
        array = array.astype(np.float32)  # torch knows neither long doubles nor another order of bytes
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not isinstance(array, np.memmap) or min(array.strides, default=0) < 0:
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arrays that cannot be written: nothing is written here
        return torch.from_numpy(array)


def check_type(name: str, x: Tensor) -> Tensor:
    """Returns a tensor that holds floats or bytes; `InputError` for one that holds anything else."""
    if x.is_floating_point() or x.dtype == torch.uint8:
        return x
    kind = str(x.dtype).removeprefix("torch.")
    held = "" if x.is_complex() or not x.numel() else " from {:g} to {:g}".format(*(value.item() for value in x.double().aminmax()))
    raise InputError(
        f"{name} holds {kind}{held}; floats, such as {name}.float(), mean themselves, and bytes (uint8) mean 0…255: either would work"
    )


def check_events(name: str, events: Sequence[int], expected: Sequence[int]) -> None:
    """Refuses events (shapes without the batch axis) of another shape than expected, which broadcasting would compare in silence.

    Raises:
        InputError: They differ. The message names both shapes and, where one exists, the call that brings the tensor into shape.
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
    raise InputError(f"{name} has events of shape {events}, expected {expected}, so ({rows}){fits}")


def check_values(
    name: str, x: Tensor, bounds: Range | None = None, *, slack: float = 0.0, indices: Tensor | None = None, reason: str = ""
) -> None:
    """Refuses a batch that holds values that are not finite or, where there are bounds, beyond them. Reads the device once.

    Args:
        name: What messages call the batch.
        x: Floats, (B, *shape).
        bounds: Lowest and highest value, or None for any finite one.
        slack: How far beyond them values may lie, as a share of their distance.
        indices: The examples that the rows are; without them messages count the rows, from 0.
        reason: What the bounds belong to, for the message.

    Raises:
        InputError: The message names the first row and, for values on another scale, the call that would work.
    """
    if not x.numel() or not _validating.get() or torch.compiler.is_compiling():
        return
    x = x.detach()
    low, high = torch.stack(x.aminmax()).tolist()  # NaN wins over any number
    least, most = -math.inf, math.inf
    if bounds is not None:
        beyond = slack * (bounds[1] - bounds[0])
        least, most = bounds[0] - beyond, bounds[1] + beyond
    finite = math.isfinite(low) and math.isfinite(high)
    if finite and least <= low and high <= most:
        return
    bad = bad_rows(x, least, most)
    noun, first = ("rows", f"row {bad[0]}") if indices is None else ("examples", f"example {indices[bad[0]]}")
    where = f"{len(bad)} of {len(x)} {noun} (first: {first})"
    if bounds is None or not finite:
        raise InputError(f"{name} holds NaN or infinity in {where}; every sample must be finite")
    if bounds == (-LARGEST, LARGEST):
        raise InputError(
            f"{name} holds entries as large as {max(-low, high):.2g} in {where}; distances need entries below {LARGEST:.0e}"
        )
    raise InputError(
        f"{name} holds values from {low:.4g} to {high:.4g}, outside {list(bounds)}{reason} in {where}{_rescaled(name, low, high, bounds)}"
    )


def bad_rows(x: Tensor, least: float = -math.inf, most: float = math.inf) -> Tensor:
    """Returns the rows that hold a value that is not finite or outside these bounds, (n,)."""
    flat = x.flatten(1)
    return (~(flat.isfinite() & (flat >= least) & (flat <= most))).any(1).nonzero()[:, 0]


def _rescaled(name: str, low: float, high: float, bounds: Range) -> str:
    """Words the call that brings values of a usual scale within bounds."""
    for a, b in _SCALES:
        if a <= low and high <= b and (a, b) != tuple(bounds):
            divisor = (b - a) / (bounds[1] - bounds[0])
            shift = bounds[0] - a / divisor
            return f"; {name} / {divisor:g}" + (f" {'+' if shift > 0 else '-'} {abs(shift):g}" if shift else "") + " would work"
    return ""


def checked_samples(**samples: Tensor) -> tuple[Tensor, ...]:
    """Returns samples (n, *event) that a divergence can compare, float32 at least; messages call them by their keywords.

    Raises:
        InputError: An argument is not floating, has no rows or no event axis, differs in its event shape, holds a NaN or an
            infinity, or holds entries beyond 1e15. The message names the argument.
    """
    (first, reference), *_ = samples.items()
    for name, sample in samples.items():
        if not sample.is_floating_point():
            raise InputError(f"{name} has dtype {sample.dtype}; a divergence needs floating-point samples, such as {name}.float()")
        if sample.ndim < 2:
            raise InputError(f"{name} has shape {tuple(sample.shape)}; samples need a row each: (n, *event)")
        if sample.shape[1:] != reference.shape[1:]:
            raise InputError(
                f"{name} has events of shape {tuple(sample.shape[1:])}, {first} of shape {tuple(reference.shape[1:])}: "
                "both sides must live on the same level"
            )
        if sample.numel() == 0:
            raise InputError(f"{name} is empty, shape {tuple(sample.shape)}; a divergence needs at least one sample on each side")
        check_values(name, sample, (-LARGEST, LARGEST))
    return tuple(at_least_float32(sample) for sample in samples.values())


def at_least(least: int, **numbers: int) -> None:
    """Refuses what is no whole number from `least` on with a `ConfigError`, which calls it by its keyword."""
    for name, number in numbers.items():
        if not hasattr(number, "__index__") or number < least:
            raise ConfigError(f"{name} is {number!r}; it takes a whole number from {least} on")


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Runs the block with autocast off, so that costs and divergences are computed in float32 at least."""
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
