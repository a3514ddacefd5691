"""Reads a picture file as bytes, whatever its format, mode, depth or orientation.

- Orientation: as EXIF says.
- Transparency (an alpha channel, a palette's or a colour key): composited on white.
- 16 bits a channel: scaled to 8, 65535 to 255. CMYK and YCbCr: converted to RGB without a colour profile.
- Animations and multi-page files: the first picture.
- A picture counts as grey if its file says so: its mode is grey, or its palette holds nothing but greys.

Floating-point and true 32-bit pictures have no agreed white, so they are refused like broken files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

Source = Any  # what PIL.Image.open takes: a path or a binary stream

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Form:
    """Describes what every picture of a set is made into.

    Attributes:
        channels: 1 for grey, 3 for RGB; None for what the pictures are.
        size: Height and width to resize to; None for their own.
        crop: Height and width of the middle part to keep, before resizing; None for all.
    """

    channels: Literal[1, 3] | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None


def survey(source: Source, form: Form) -> tuple[int, int, int]:
    """Looks up the channels, height and width that a picture would have by itself: after the crop, before resizing.

    Raises:
        Exception: It cannot be read, or is smaller than the crop; whatever Pillow raises.
    """
    with Image.open(source, formats=_formats()) as opened:
        channels = form.channels or (1 if _is_grey(opened) else 3)
        if form.crop is None and form.size is not None:
            return channels, *form.size
        if opened.format == "TIFF":
            opened.load()  # turns it, which Pillow does for this format alone
        width, height = opened.size
        if opened.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
            height, width = width, height
    if form.crop is None:
        return channels, height, width
    if height < form.crop[0] or width < form.crop[1]:
        raise ValueError(f"{height}x{width} is smaller than the crop {form.crop[0]}x{form.crop[1]}")
    return channels, *form.crop


def read(source: Source, form: Form) -> UInt8[np.ndarray, "C H W"]:
    """Reads a picture as uint8 (C, H, W), cropped, then resized with antialiasing (bilinear over the area that a pixel covers).

    `form.channels` must be given.

    Raises:
        Exception: It cannot be read to its end; whatever Pillow raises.
    """
    with Image.open(source, formats=_formats()) as opened:
        opened.load()
        picture = _eight_bit(ImageOps.exif_transpose(opened)).convert("L" if form.channels == 1 else "RGB")
    if form.crop is not None:
        height, width = form.crop
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    if form.size is not None and (picture.height, picture.width) != form.size:
        height, width = form.size
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1)


@cache
def _formats() -> list[str]:
    Image.init()  # loads the plugins of all formats; naming one that was not loaded is an error
    return [name for name in FORMATS if name in Image.OPEN]


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        red, green, blue = picture.convert("RGBA").convert("RGB").split()
        return red.tobytes() == green.tobytes() == blue.tobytes()
    return picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I")


def _eight_bit(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; save it with 8 or 16 bits a channel, or use arrays")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels have no agreed white; save it with 8 or 16 bits a channel, or use arrays")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if picture.has_transparency_data:
        pixels = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels)
    return picture
