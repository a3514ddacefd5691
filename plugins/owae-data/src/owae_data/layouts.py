"""Finds the channels of an array of images.

In four dimensions they are the second axis, (N, C, H, W), or the last, (N, H, W, C). "auto" takes, in this order, the axis that

1. has 1, 3 or 4 entries, as channels have, if the other has not;
2. leaves square images, if the other does not;
3. is the shorter;
4. is the second.

So (N, 3, 32, 32) has its channels second, (N, 45, 33, 3) last, and (N, 4, 4, 3) last too.
"""

from __future__ import annotations

import logging
from typing import Literal

from jaxtyping import Shaped
from torch import Tensor

from owae.errors import DataError

Layout = Literal["auto", "chw", "hwc"]

log = logging.getLogger(__name__)


def channel_axis(shape: tuple[int, ...], layout: Layout, place: str, level: int = logging.WARNING) -> int | None:
    """Finds the axis that holds the channels; None where there is no such axis.

    Raises:
        DataError: The shape, that of a whole array, is not one of images or vectors; the message names `place`.

    What stays open is logged at `level`.

    >>> channel_axis((100, 45, 33, 3), "auto", "x.npy")
    3
    """
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise DataError(
            f"{place} has shape {shape}; wanted is (N, H, W), (N, C, H, W) or (N, H, W, C), or (N, D) for vectors, none empty"
        )
    if len(shape) < 4:
        return None
    if layout != "auto":
        return {"chw": 1, "hwc": 3}[layout]
    axis = _likeliest_axis(shape)
    if (shape[1] in (1, 3, 4)) == (shape[3] in (1, 3, 4)):
        log.log(
            level,
            "%s has shape %s, which leaves open where the channels stand; taken: %s (layout = 'chw' or 'hwc' decides it)",
            *(place, shape, "second" if axis == 1 else "last"),
        )
    return axis


def channels_first(images: Shaped[Tensor, "N ..."], axis: int | None) -> Shaped[Tensor, "N ..."]:
    """Returns a view (N, C, H, W) of images whose channels are `axis`, or which have none, (N, H, W); vectors, (N, D), stay as they are."""
    if axis is not None:
        return images.movedim(axis, 1)
    return images[:, None] if images.ndim == 3 else images


def _likeliest_axis(shape: tuple[int, ...]) -> int:
    def likelihood(axis: int) -> tuple[bool, bool, int]:
        height, width = (size for other, size in enumerate(shape) if other not in (0, axis))
        return shape[axis] in (1, 3, 4), height == width, -shape[axis]

    return max((1, 3), key=likelihood)  # the first of equals
