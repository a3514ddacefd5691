"""Events as pixels, and how a file of them is written."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from owae.errors import OwaeError
from owae.files import write_durably
from owae.interfaces import Shape

logger = logging.getLogger(__name__)

COLOURS = (1, 3, 4)  # grey, RGB, RGBA; of others three are shown as RGB

Pixels = UInt8[np.ndarray, "_ H W *channels"]


def drawable(shape: Shape) -> bool:
    """Whether events of a shape can be shown as pictures: (H, W), or (C, H, W), of which some channels are shown.

    >>> drawable((1, 28, 28)), drawable((45, 33)), drawable((32,)), drawable((2, 16, 16))
    (True, True, False, True)
    """
    return min(shape, default=0) > 0 and len(shape) in (2, 3)


def channels(shape: Shape, dtype: str = "uint8", asked: str | None = None) -> tuple[int, ...] | None:
    """Returns the channels of events that are shown, as grey, or as red, green and blue; None for all as they are.

    Unless asked for they are the first three where there are two, or more than four; and of four, where those are no bytes, for opacity
    comes in bytes.

    Args:
        shape: Of the events.
        dtype: Of the data as they are stored.
        asked: One, two or three numbers from 0, separated by commas.

    Raises:
        OwaeError: There are no such channels.

    >>> channels((5, 8, 8)), channels((4, 8, 8), "float32"), channels((5, 8, 8), asked="4,0"), channels((3, 8, 8))
    ((0, 1, 2), (0, 1, 2), (4, 0), None)
    """
    count = shape[0] if len(shape) == 3 else 0
    if asked is None:
        plain = count in COLOURS and (count != 4 or dtype == "uint8")
        if count == 4 and plain:
            logger.info(
                "four channels of bytes are shown as red, green, blue and opacity; --channels 0,1,2 would show three as colours"
            )
        return None if not count or plain else tuple(range(min(3, count)))
    parts = [part.strip() for part in asked.split(",")]
    if not count or len(parts) > 3 or not all(part.isdecimal() and int(part) < count for part in parts):
        found = f"the data have {count} channels, 0 to {count - 1}" if count else f"the data have shape {tuple(shape)}, no channels"
        raise OwaeError(f"channels '{asked}' cannot be shown: {found}; one to three of them would work, as 2,0,1")
    return tuple(map(int, parts))


def colours(shape: Shape, shown: tuple[int, ...] | None) -> int:
    """Returns of how many numbers a pixel of pictures is, of which these channels are shown: 1, 3 or 4."""
    count = 1 if len(shape) == 2 else shape[0]
    return count if shown is None else 1 if len(shown) == 1 else 3


def to_pixels(batch: Float[Tensor, "n *event"], value_range: tuple[float, float], shown: tuple[int, ...] | None = None) -> Pixels:
    """Bytes (n, H, W), or (n, H, W, C) in colour, of events whose values lie in `value_range`.

    The range is mapped linearly onto 0…255, rounded half up, so that bytes come back as they were; values outside are clipped, and
    one that is not a number is the lowest. `shown` are the channels, of `channels` unless given; where they are two, blue is none.

    Raises:
        ValueError: The events are not drawable, or the range is empty.
    """
    shape = tuple(batch.shape[1:])
    low, high = value_range
    if not drawable(shape):
        raise ValueError(f"events of shape {shape} cannot be drawn; (H, W) and (C, H, W) can")
    if not low < high:
        raise ValueError(f"value_range is {value_range}; it needs a lowest value below the highest")
    shown = channels(shape) if shown is None else shown
    if shown is not None:
        batch = batch[:, list(shown)]
        if len(shown) == 2:
            batch = torch.cat([batch, torch.full_like(batch[:, :1], low)], dim=1)
        shape = tuple(batch.shape[1:])
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
