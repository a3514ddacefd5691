"""Sheets of small pictures, by Pillow alone: events to pixels, pixels to a grid, a grid to a file."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from owae.errors import OwaeError
from owae.files import write_durably
from owae.interfaces import Shape

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA

_TILE = 56  # smaller pictures are enlarged to at least so many pixels
_SHEET = (224, 2048)  # sheets are enlarged to reach the first, and tiles no further than the second allows
_PAD = 2
_LIGHT, _INK = 240, 32
_LABEL_SIZES = (14, 32)

Pixels = UInt8[np.ndarray, "n H W *channels"]


def drawable(shape: Shape) -> bool:
    """Whether events of a shape can be shown as pictures: (H, W), or (C, H, W) with one, three or four channels.

    >>> drawable((1, 28, 28)), drawable((45, 33)), drawable((32,)), drawable((2, 16, 16))
    (True, True, False, False)
    """
    return min(shape, default=0) > 0 and (len(shape) == 2 or (len(shape) == 3 and shape[0] in CHANNELS))


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


def grid(images: Pixels, columns: int | None = None, scale: int | None = None, pad: int = _PAD) -> Image.Image:
    """Pictures side by side, row by row, on a light ground.

    Args:
        images: At least one picture.
        columns: Pictures in a row; by default so many that the sheet is about square and, if possible, full.
        scale: Each pixel becomes `scale` × `scale`; by default so that small pictures can be looked at.
        pad: Pixels between pictures and around them.

    Raises:
        ValueError: There is no picture, or a number is below its least.
    """
    count, height, width = images.shape[:3]
    if not count:
        raise ValueError("there is no picture to draw; at least one is needed")
    columns = _columns(count, height / width) if columns is None else columns
    rows = -(-count // max(1, columns))
    scale = _scale(height, width, rows, columns) if scale is None else scale
    if columns < 1 or scale < 1 or pad < 0:
        raise ValueError(f"columns is {columns}, scale {scale}, pad {pad}; the first two start at 1, the last at 0")
    tiles = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = tiles.shape[1:3]
    sheet = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, *tiles.shape[3:]), _LIGHT, np.uint8)
    if tiles.shape[3:] == (4,):
        sheet[..., 3] = 255  # the ground is opaque, whatever the pictures are
    for index, tile in enumerate(tiles):
        top, left = (place * (side + pad) + pad for place, side in zip(divmod(index, columns), (height, width), strict=True))
        sheet[top : top + height, left : left + width] = tile
    return Image.fromarray(sheet)


def labelled_rows(rows: Sequence[Pixels], labels: Sequence[str]) -> Image.Image:
    """A grid of given rows, topmost first, with a label in the margin left of each; `z_1` is set with a subscript.

    Raises:
        ValueError: The rows are empty.
    """
    count, height, width = rows[0].shape[:3]
    scale = _scale(height, width, len(rows), count)
    size = min(max(_LABEL_SIZES[0], scale * height // 3), _LABEL_SIZES[1])
    # Rows lower than their labels are set apart.
    pad = max(_PAD, size + 4 - scale * height)
    sheet = grid(np.concatenate(rows), count, scale, pad)
    margin = math.ceil(max(_draw_label(None, label, 0.0, 0.0, size) for label in labels)) + size
    ground = (_LIGHT,) * 3 + (255,) if sheet.mode == "RGBA" else (_LIGHT,) * len(sheet.getbands())
    canvas = Image.new(sheet.mode, (margin + sheet.width, sheet.height), ground)
    canvas.paste(sheet, (margin, 0))
    draw = ImageDraw.Draw(canvas)
    for row, label in enumerate(labels):
        _draw_label(draw, label, size / 2, pad + row * (scale * height + pad) + scale * height / 2, size)
    return canvas


def save(image: Image.Image, path: Path) -> Path:
    """Write a PNG whole or not at all, making its folder; the same picture gives the same bytes.

    Raises:
        OwaeError: The file cannot be written.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return write(path, buffer.getvalue())


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


def _columns(count: int, aspect: float) -> int:
    """Columns for pictures of an aspect (height / width), so that the sheet is about square and, if one near that is, full."""
    square = math.sqrt(count * aspect)
    full = [columns for columns in range(1, count + 1) if count % columns == 0 and 0.8 <= columns / square <= 1.6]
    return min(
        full, key=lambda columns: (round(abs(math.log(columns / square)), 6), -columns), default=min(count, math.ceil(square))
    )


def _scale(height: int, width: int, rows: int, columns: int) -> int:
    least, most = _SHEET
    sheet = max(rows * height, columns * width)
    wanted = max(math.ceil(_TILE / max(height, width)), least // sheet)
    return max(1, min(wanted, most // sheet))


def _draw_label(draw: ImageDraw.ImageDraw | None, label: str, x: float, y: float, size: int) -> float:
    """Set a label from `x` on, its small letters centred about `y`, and give its width; without `draw`, only the width.

    Pillow's font has no subscript characters, so what follows an underscore is set smaller and lower.
    """
    base, _, below = label.partition("_")
    baseline = y + size / 4
    width = 0.0
    for text, share, drop in ((base, 1.0, 0.0), (below, 0.7, 0.2)):
        font = ImageFont.load_default(size * share)
        if draw is not None and text:
            ink = (_INK,) * 3 + (255,) if draw.mode == "RGBA" else (_INK,) * len(draw.mode)
            draw.text((x + width, baseline + drop * size), text, fill=ink, font=font, anchor="ls")
        width += font.getlength(text)
    return width
