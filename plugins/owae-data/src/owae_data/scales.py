"""Brings the numbers of an array of images into one range.

- Booleans become the bytes 0 and 255.
- Whole numbers become bytes if all are within 0…255, and else are treated like floats.
- Floats become float32. `value_range = [lo, hi]` is where they are brought to; the train split alone decides how:
  if it is within [0, 1], that whole interval is mapped on [lo, hi] (nothing changes for the default [0, 1]);
  otherwise, if it is within [lo, hi], nothing changes;
  otherwise its least and greatest finite value are mapped on lo and hi, and test values beyond them are clipped.
  With `rescale = false` nothing changes, and the value range is the one measured on both splits.

NaN and infinities stay what they are in any case. What was done is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from owae.errors import DataError
from owae_data.base import apart

Bounds = tuple[float, float]
KINDS = {"b": "bool", "i": "whole", "u": "whole", "f": "float"}  # by the kind of a NumPy dtype
BLOCK = 1 << 22  # entries looked at or converted at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bytes:
    """Whole numbers times `factor` as bytes, which stand for `value_range`; `exact` is the dtype to give, where one can choose."""

    value_range: Bounds
    factor: int = 1
    dtype = torch.uint8
    exact = np.int64

    def __call__(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        return x.to(torch.uint8) * self.factor if self.factor != 1 else x.to(torch.uint8)


@dataclass(frozen=True)
class Linear:
    """Numbers as float32, `source` mapped linearly on `value_range`, and what is finite clipped to that."""

    source: Bounds
    value_range: Bounds
    dtype = torch.float32
    exact = np.float64

    def __call__(self, x: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        x = x if x.is_floating_point() and x.dtype != torch.float16 else x.float()
        (low, high), (start, end) = self.source, self.value_range
        if self.source != self.value_range:
            x = (x - low) * ((end - start) / (high - low)) + start
        x = x.float()
        return torch.where(x.isinf(), x, x.clamp(start, end))


Scale = Bytes | Linear


def blocks(rows: np.ndarray, row_size: int) -> Iterator[np.ndarray]:
    """Splits row numbers into runs of about `BLOCK` entries."""
    step = max(BLOCK // row_size, 1)
    return (rows[at : at + step] for at in range(0, len(rows), step))


def finite_range(array: np.ndarray, rows: np.ndarray) -> Bounds | None:
    """Finds the least and greatest finite entry in these rows of an array; None if there is none."""
    low, high = np.inf, -np.inf
    for run in blocks(rows, array[0].size):
        block = array[run]
        if block.dtype.kind == "f":
            block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    return (low, high) if low <= high else None


def scale_for(
    dtypes: set[np.dtype[Any]],
    train: Bounds | None,
    test: Bounds | None,
    wanted: Bounds,
    *,
    rescale: bool,
    place: str,
    level: int = logging.WARNING,
) -> Scale:
    """Chooses the scale for an array, by the rules above.

    Args:
        dtypes: Those of both splits.
        train: The finite range of the train split.
        test: The finite range of the test split.
        wanted: Where values are to be brought.
        rescale: Whether floats may change.
        place: How messages name the data.
        level: Of the log lines that say what is done.

    Raises:
        DataError: One split holds booleans, whole numbers or floats and the other does not.
    """
    kinds = {KINDS[dtype.kind] for dtype in dtypes}
    if len(kinds) > 1:
        raise DataError(f"{place}: the splits hold {' and '.join(sorted(map(str, dtypes)))}; give both the same dtype")
    if kinds == {"bool"}:
        return Bytes(wanted, 255)
    known = [bounds for bounds in (train, test) if bounds]
    if not known:
        log.log(level, "%s holds no finite number at all", place)
        return Linear(wanted, wanted)
    both = min(low for low, _ in known), max(high for _, high in known)
    if both[1] - both[0] > float(np.finfo(np.float32).max):  # what is written in the data's own units would be infinite
        raise DataError(
            f"{place} holds numbers from {both[0]:.3g} to {both[1]:.3g}, which 32 bits cannot hold; scaled ones would work"
        )
    if kinds == {"whole"} and both[0] >= 0 and both[1] <= 255:
        if both[1] <= 16:
            log.log(
                level,
                "%s holds whole numbers up to %g, taken as bytes out of 255: nearly black; floats are rescaled",
                place,
                both[1],
            )
        return Bytes(wanted)
    if not rescale:
        low, high = (float(np.float32(bound)) for bound in both)
        measured = apart(low, high)
        log.log(level, "%s is left as it is; its value range is [%g, %g]", place, *measured)
        return Linear(measured, measured)
    return _rescale(train or both, both, wanted, place, level)


def _rescale(train: Bounds, both: Bounds, wanted: Bounds, place: str, level: int) -> Linear:
    if train[0] >= 0 and train[1] <= 1:
        source = (0.0, 1.0)
    elif train[0] >= wanted[0] and train[1] <= wanted[1]:
        source = wanted
    else:
        source = apart(*train)
        log.log(
            level,
            "%s: [%g, %g], the range of the train split, is mapped on [%g, %g]; rescale = false keeps it",
            place,
            *source,
            *wanted,
        )
    if both[0] < source[0] or both[1] > source[1]:
        log.log(level, "%s: values of the test split reach over [%g, %g]; those beyond [%g, %g] are clipped", place, *both, *source)
    return Linear(source, wanted)
