"""The deepest latent for the page's viewer: a sheet of decoded events, the plane that they lie in, and with `live` the decoders."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from owae.errors import TrainingError
from owae.model.stack import Stack
from owae_report.events import decode_plane, latent_plane
from owae_report.page.network import NotEmbeddableError, difference, network
from owae_report.pixels import channels, colours, drawable, to_pixels

EXTENT = 2.0
_SIDES = (33, 25, 17, 13, 9)  # odd, so that 0 is on the grid
_NUMBERS = 1_600_000  # of a sheet, about, before its pictures are made smaller
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SQUARE = 2.0  # how many times wider than high, or higher than wide, a plane may be shown, for moving takes room both ways
_CHECKED = 200  # codes at which embedded decoders are held against torch


@dataclass(frozen=True)
class Plane:
    """What the viewer shows.

    Attributes:
        sheet: The sheet's PNG; None where events are no pictures.
        data: Plain values for `viewer.js`.
        columns: Events in a row of the sheet.
        rows: Its rows.
        notes: What a reader should know of it.
        live: Whether the decoders are in `data`.
        values: The decoded events, flat, (rows, columns, n), where they are no pictures.
        ratio: Of the width to the height that the sheet is shown with, where it is not its own.
    """

    sheet: bytes | None
    data: dict[str, Any]
    columns: int
    rows: int
    notes: list[str]
    live: bool
    values: Float[np.ndarray, "rows columns n"] | None = None
    ratio: float | None = None


def plane(
    stack: Stack, value_range: tuple[float, float], *, live: bool = False, seed: int = 0, shown: tuple[int, ...] | None = None
) -> Plane:
    """Decodes a plane of the deepest latent, by the decoders' points.

    Args:
        stack: The stack.
        value_range: The range of the data's values.
        live: Whether to embed the decoders; where that cannot be done, `notes` say why.
        seed: Chooses the plane of a latent with more than two dimensions.
        shown: The channels of pictures, as `owae_report.pixels.channels` tells them.

    Raises:
        TrainingError: Decoded values are not finite.
    """
    shape, depth = tuple(stack.layers[0].in_shape), stack.depth
    shown = channels(shape) if shown is None else shown
    size = math.prod(shape)
    dimension = math.prod(stack.layers[-1].latent_shape)
    side = next((each for each in _SIDES if each * each * size <= _NUMBERS), _SIDES[-1])
    decoded = decode_plane(stack, side, EXTENT, seed).float().cpu()
    if not decoded.isfinite().all():
        raise TrainingError("decoded values are not finite: the training diverged")
    rows, columns = decoded.shape[:2]
    notes: list[str] = []
    data: dict[str, Any] = {
        "columns": columns,
        "rows": rows,
        "axes": axes(dimension, seed).tolist(),
        "names": [f"z{str(depth).translate(_SUBSCRIPTS)}[{axis}]" for axis in range(dimension)] if dimension <= 2 else None,
        "network": None,
        "picture": None,
    }
    sheet = values = ratio = None
    if drawable(shape):
        pictures = _on_white(to_pixels(decoded.flatten(0, 1), value_range, shown))
        kept = _shrunk(pictures, rows * columns)
        if kept.shape != pictures.shape:
            notes.append(f"Its pictures are made smaller than they are, {kept.shape[2]}×{kept.shape[1]} pixels.")
        sheet = _png(kept.reshape(rows, columns, *kept.shape[1:]))
        own = columns * shape[-1] / (rows * shape[-2])
        if rows > 1 and not 1 / _SQUARE <= own <= _SQUARE:
            ratio = _SQUARE if own > 1 else 1 / _SQUARE
            notes.append("The plane is drawn with its pictures stretched, which leaves room to move in it.")
        data["picture"] = {"height": shape[-2], "width": shape[-1], "channels": colours(shape, shown), "range": list(value_range)}
    else:
        values = decoded.flatten(2).numpy()
        if columns * rows * size > 4 * _NUMBERS:
            notes.append("Values are thinned.")
            values = values[..., :: -(-columns * rows * size // (4 * _NUMBERS))]
        data["values"] = {
            "data": base64.b64encode(values.astype("<f4").tobytes()).decode(),
            "count": values.shape[2],
            "low": float(values.min()),
            "high": float(values.max()),
        }
    embedded = False
    if live:
        try:
            if shown is not None:
                raise NotEmbeddableError(f"of {shape[0]} channels {len(shown)} are shown")
            data["network"], note = _embedded(stack, value_range, dimension, seed)
            embedded = True
        except NotEmbeddableError as error:
            note = f"The decoders are not in this page, and the viewer shows the nearest point of the sheet: {error}."
        notes.append(note)
    return Plane(sheet, data, columns, rows, notes, embedded, values, ratio)


def axes(dimension: int, seed: int = 0) -> Float[np.ndarray, "k {dimension}"]:
    """Returns the vectors from the plane's middle to its right and upper edges; of one dimension the first alone.

    >>> axes(1).tolist()
    [[2.0]]
    """
    grid = latent_plane(dimension, 3, EXTENT, seed)
    return grid[0, 2:].numpy() if dimension == 1 else torch.stack([grid[1, 2], grid[0, 1]]).numpy()


def _embedded(stack: Stack, value_range: tuple[float, float], dimension: int, seed: int) -> tuple[dict[str, Any], str]:
    made = network(stack)
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(_CHECKED, min(2, dimension), generator=generator) * 2 - 1
    off = difference(made, stack, places @ torch.from_numpy(axes(dimension, seed)))
    low, high = value_range
    if not drawable(tuple(stack.layers[0].in_shape)):
        return (
            made.embedded(),
            f"The decoders are in this page; at {_CHECKED} points its values differ from torch's by {off:.2g} at most.",
        )
    levels = 255 * off / (high - low)
    if not levels <= 1:
        raise NotEmbeddableError(f"evaluated with 16 bits a weight they differ from torch by {levels:.3g} grey levels")
    return (
        made.embedded(),
        f"The decoders are in this page and are evaluated as you move; at {_CHECKED} points they differed from torch by {levels:.2g} of "
        "255 grey levels at most.",
    )


def _on_white(pictures: UInt8[np.ndarray, "n H W *channels"]) -> UInt8[np.ndarray, "n H W *rest"]:
    """Composites pictures with an alpha channel on white."""
    if pictures.ndim < 4 or pictures.shape[3] != 4:
        return pictures
    colour, alpha = pictures[..., :3].astype(np.float32), pictures[..., 3:].astype(np.float32) / 255
    return np.floor(colour * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)


def _shrunk(pictures: UInt8[np.ndarray, "n H W *channels"], count: int) -> UInt8[np.ndarray, "n h w *channels"]:
    """Makes pictures so much smaller that a sheet of them holds about as many numbers as it may."""
    numbers = count * math.prod(pictures.shape[1:])
    if numbers <= 2 * _NUMBERS:
        return pictures
    factor = math.sqrt(numbers / _NUMBERS)
    height, width = (max(1, round(side / factor)) for side in pictures.shape[1:3])
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BOX)) for each in pictures])


def _png(pictures: UInt8[np.ndarray, "rows columns H W *channels"]) -> bytes:
    rows, columns, height, width = pictures.shape[:4]
    array = pictures.swapaxes(1, 2).reshape(rows * height, columns * width, *pictures.shape[4:])
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
