"""Reads a picture file as bytes, whatever its format, mode, depth or orientation.

- Orientation: as EXIF says.
- Transparency (an alpha channel, a palette's or a colour key): composited on white, or on black.
- 16 bits a channel: scaled to 8, 65535 to 255. CMYK and YCbCr: converted to RGB without a colour profile.
- Animations and multi-page files: the first picture.
- A picture counts as grey if its file says so: its mode is grey, or its palette holds nothing but greys.

Floating-point and true 32-bit pictures have no agreed white, so they are refused like broken files.

This is the one reader: sources read their files by it, and `as_event` reads a user's own files as the training examples were read.
"""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.base import Extent

Source = Any  # what PIL.Image.open takes, a path or a binary stream; or what it gives

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow, by the number of channels
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Form:
    """Describes what every picture of a set is made into.

    Attributes:
        channels: 1 for grey, 3 for RGB, 4 for RGB with its alpha; None for grey or RGB, as the pictures are.
        size: Height and width to resize to; None for their own.
        crop: Height and width of the middle part to keep, before resizing; None for all.
        background: What shows through where a picture is transparent; its alpha is kept where that is a channel.
    """

    channels: Literal[1, 3, 4] | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    background: Literal["white", "black"] = "white"


class ReadsPictures:
    """Says how a source with the options of a picture reads one."""

    @classmethod
    def form(
        cls,
        *,
        channels: Literal[1, 3] | None,
        size: Extent | None,
        crop: Extent | None,
        background: Literal["white", "black"],
        **options: Any,
    ) -> Form:
        """How pictures are read under these options."""
        return Form(channels, size and (size[0], size[1]), crop and (crop[0], crop[1]), background)


def regular(path: Path) -> Path:
    """Returns a path that leads to a file; `ValueError` for a dangling link, and for what could block, such as a named pipe."""
    if not path.is_file():
        raise ValueError("a link that leads nowhere" if path.is_symlink() else "no regular file")
    return path


def survey(source: Source, form: Form) -> tuple[int, int, int]:
    """Looks up the channels, height and width that a picture would have by itself: after the crop, before resizing.

    Raises:
        Exception: It cannot be read, or is smaller than the crop; whatever Pillow raises.
    """
    with opened_picture(source) as opened:
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
    _check_crop(height, width, form.crop)
    return channels, *form.crop


def read(source: Source, form: Form) -> UInt8[np.ndarray, "C H W"]:
    """Reads a picture as uint8 (C, H, W), cropped, then resized with antialiasing (bilinear over the area that a pixel covers).

    `form.channels` must be given.

    Raises:
        Exception: It cannot be read to its end; whatever Pillow raises.
    """
    with opened_picture(source) as opened:
        opened.load()
        picture = _eight_bit(ImageOps.exif_transpose(opened), None if form.channels == 4 else form.background)
        picture = picture.convert(MODES[form.channels or 3])
    if form.crop is not None:
        height, width = form.crop
        _check_crop(picture.height, picture.width, form.crop)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    if form.size is not None and (picture.height, picture.width) != form.size:
        height, width = form.size
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1)


def as_event(path: Path, form: Form, shape: Shape) -> UInt8[np.ndarray, "*x"]:
    """Reads a user's own picture file as a training example of this form and shape would have been read.

    Where the form names no size, pictures had one of their own: another one is resized, which is logged. A picture that has the
    model's size and is smaller than the crop was cropped before, and is taken whole.

    Args:
        path: The file.
        form: How the training examples were made.
        shape: Theirs: (H, W), or (C, H, W) with 1, 3 or 4 channels.

    Raises:
        DataError: It cannot be read as a picture, or is smaller than the crop.
    """
    height, width = size = (shape[-2], shape[-1])
    channels = 1 if len(shape) == 2 else shape[0]
    try:
        with opened_picture(regular(path)) as opened:
            if has_further(opened):
                log.info("%s holds further pages or frames, and the first is read", path)
            found = survey(opened, replace(form, channels=3, size=None, crop=None))[1:]
        if form.crop is not None and found == size and (found[0] < form.crop[0] or found[1] < form.crop[1]):
            form = replace(form, crop=None)
        elif form.size is None and (form.crop or found) != size:
            log.warning("%s is %dx%d (height x width) and was resized to the model's %dx%d", path, *found, height, width)
        pixels = read(path, replace(form, channels=channels, size=size))
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no picture of a known format; {', '.join(FORMATS)} would work") from error
    except Exception as error:  # a damaged file can lead Pillow into any error
        what = "does not exist" if not os.path.lexists(path) else f"cannot be read as a picture: {error or type(error).__name__}"
        raise DataError(f"{path} {what}") from error
    return pixels.reshape(shape)


def has_further(opened: Image.Image) -> bool:
    """Tells whether a file holds further pages or frames, after the first, which is the one that is read."""
    return getattr(opened, "is_animated", False)


def opened_picture(source: Source) -> AbstractContextManager[Image.Image]:
    """Opens a picture of a known format; what is open already stays so."""
    return nullcontext(source) if isinstance(source, Image.Image) else Image.open(source, formats=_formats())


def _check_crop(height: int, width: int, crop: tuple[int, int]) -> None:
    if height < crop[0] or width < crop[1]:
        raise ValueError(f"{height}x{width} is smaller than the crop {crop[0]}x{crop[1]}")


@cache
def _formats() -> list[str]:
    Image.init()  # loads the plugins of all formats; naming one that was not loaded is an error
    return [name for name in FORMATS if name in Image.OPEN]


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        red, green, blue = picture.convert("RGBA").convert("RGB").split()
        return red.tobytes() == green.tobytes() == blue.tobytes()
    return picture.mode in ("1", "L", "LA", "La", "F") or picture.mode.startswith("I")


def _eight_bit(picture: Image.Image, background: str | None) -> Image.Image:
    """The picture with 8 bits a channel, on a background unless that is None."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed white; save it with 8 or 16 bits a channel, or use arrays")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels have no agreed white; save it with 8 or 16 bits a channel, or use arrays")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if picture.has_transparency_data:
        pixels = picture.convert("RGBA")
        return pixels if background is None else Image.alpha_composite(Image.new("RGBA", pixels.size, background), pixels)
    return picture
