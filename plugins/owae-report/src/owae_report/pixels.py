"""Events as pixels, and how a file of them is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from owae.errors import OwaeError
from owae.files import write_durably
from owae.interfaces import Shape

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA

Pixels = UInt8[np.ndarray, "_ H W *channels"]


def drawable(shape: Shape) -> bool:
    """Whether events of a shape can be shown as pictures: (H, W), or (C, H, W) with one, three or four channels.

    >>> drawable((1, 28, 28)), drawable((45, 33)), drawable((32,)), drawable((2, 16, 16))
    (True, True, False, False)
    """
    return min(shape, default=0) > 0 and (len(shape) == 2 or (len(shape) == 3 and shape[0] in _CHANNELS))


def to_pixels(batch: Float[Tensor, "n *event"], value_range: tuple[float, float]) -> Pixels:
    """Bytes (n, H, W), or (n, H, W, C) in colour, of events whose values lie in `value_range`.

    The range is mapped linearly onto 0…255, rounded half up, so that bytes come back as they were; values outside are clipped, and
    one that is not a number is the lowest.

    Raises:
        ValueError: The events are not drawable, or the range is empty.
    """
    shape = tuple(batch.shape[1:])
    low, high = value_range
    if not drawable(shape):
        raise ValueError(f"events of shape {shape} cannot be drawn; (H, W) and (C, H, W) with 1, 3 or 4 channels can")
    if not low < high:
        raise ValueError(f"value_range is {value_range}; it needs a lowest value below the highest")
    levels = (batch.detach().float() - low) * (255 / (high - low))
    levels = levels.nan_to_num(nan=0.0).clamp(0, 255).add(0.5).floor().to(torch.uint8).cpu()
    if len(shape) == 3:
        levels = levels.squeeze(1) if shape[0] == 1 else levels.movedim(1, -1)
    return levels.numpy()


def write(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all, making its folder.

    Raises:
        OwaeError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)
    except OSError as error:
        raise OwaeError(f"{path} could not be written: {error}") from error
    return path
