"""Reads pictures that are more than bytes in grey or colour: TIFF files of any number of channels and bits, and arrays in `.npy` files.

- Channels: of a TIFF, every axis but height and width, in the order of the file, whether they lie pixel by pixel, plane by plane or page by
  page. Of an array with two axes (H, W) one; with three, the axis that `owae_data.layouts` tells; with four, the array holds many pictures.
- Values: those of `source_range` are mapped linearly onto the value range, and others clipped. Unless it is given it is the whole range
  of the type for whole numbers (0…65535 for 16 bits), [0, 1] for floats that are all within it, and else the least and greatest float of
  the training pictures. Bytes stay bytes. NaN and infinities are refused.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.base import apart, quiet
from owae_data.layouts import Layout, channel_axis, channels_first
from owae_data.pictures import Form, has_further, regular

TIFFS = (".tif", ".tiff")
_PLAIN = ("<u2", ">u2")  # of more than a byte, what Pillow reads of a TIFF in grey
_OPACITY = (1, 2)  # kinds of an extra channel: associated and unassociated alpha
_COLOURS = {2: "RGB", 6: "YCBCR", 8: "CIELAB"}  # by their numbers in a TIFF

log = logging.getLogger(__name__)


def is_raster(path: Path, *, deep: bool = False) -> bool:
    """Tells whether a file takes this reader: a `.npy`, or a TIFF of other channels or depths than those of usual pictures.

    `deep` says that pictures in grey of 16 bits take it too, PNG and TIFF, as where a range of their values is said.
    """
    return bool(_takes(path, deep))


def are_rasters(folder: Path, names: Sequence[str], *, deep: bool = False) -> bool:
    """Tells whether the first of some pictures that can be opened takes this reader."""
    return bool(next((told for name in names if (told := _takes(folder / name, deep)) is not None), False))


def is_deep_grey(path: Path) -> bool:
    """Tells whether a PNG or TIFF is in grey of 16 bits."""
    if path.suffix.lower() not in (".png", *TIFFS):
        return False
    with contextlib.suppress(Exception), quiet(), Image.open(regular(path)) as image:
        return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")  # as Pillow before 10.4 says
    return False


def _takes(path: Path, deep: bool) -> bool | None:
    """As `is_raster`; None for a TIFF that cannot be opened."""
    if path.suffix.lower() == ".npy":
        return True
    if deep and is_deep_grey(path):
        return True
    if path.suffix.lower() not in TIFFS:
        return False
    try:
        import tifffile

        with tifffile.TiffFile(regular(path)) as file:
            page, series = file.pages.first, file.series[0]
            dtype, planes = np.dtype(page.dtype or "V1"), int(np.prod([n for n, axis in _sizes(series) if axis not in "YX"]))
    except ImportError as error:
        if _is_usual_to_pillow(path):
            return False
        raise DataError(
            f"{path} is no TIFF of the usual kind; those of many channels or bits are read by tifffile: pip install 'owae-data[tiff]'"
        ) from error
    except Exception:  # a damaged file: whoever reads it says so
        return None
    samples = page.samplesperpixel
    if planes != samples:
        # Pages of one size are channels where they are more than bytes, or the file (ImageJ, OME) says so; others of bytes are a scan's.
        return dtype.itemsize > 1 or "C" in series.axes
    if dtype.itemsize == 1:
        return not _is_usual(page, samples)
    return samples > 1 or dtype.str not in _PLAIN


def _is_usual(page: Any, samples: int) -> bool:
    """Tells whether bytes of a TIFF are grey or colours, with opacity or without, as other pictures are; Pillow drops further channels."""
    return _are_usual(samples, page.photometric.name, page.extrasamples)


def _are_usual(samples: int, kind: str, extras: Sequence[int]) -> bool:
    colours = samples - any(int(extra) in _OPACITY for extra in extras)
    return colours == 1 or (colours == 3 and kind in _COLOURS.values()) or (samples == 4 and kind == "SEPARATED")


def _is_usual_to_pillow(path: Path) -> bool:
    """Tells by what Pillow reads of its tags whether it reads a TIFF whole; one that it cannot open is not."""
    with contextlib.suppress(Exception), Image.open(path) as image:
        tags: Any = getattr(image, "tag_v2")  # noqa: B009 # of TIFF files alone
        samples, bits, extras = tags.get(277, 1), tags.get(258, (1,)), tags.get(338, ())
        kind = {**_COLOURS, 5: "SEPARATED"}.get(tags.get(262, 1), "")
        if has_further(image):
            return False  # whether further pages are channels, tifffile can tell
        image.load()
        return _are_usual(samples, kind, extras) and max(bits) <= (16 if samples == 1 and image.mode.startswith("I;16") else 8)
    return False


def _sizes(series: object) -> list[tuple[int, str]]:
    return list(zip(series.shape, series.axes, strict=True))  # pyright: ignore[reportAttributeAccessIssue] # tifffile's


def _read(path: Path, layout: Layout) -> Shaped[Tensor, "N C H W"]:
    """The pictures in a file, one or many."""
    if path.suffix.lower() == ".npy":
        array = np.load(regular(path), allow_pickle=False)
        if array.ndim not in (2, 3, 4) or array.dtype.kind not in "biuf":
            raise ValueError(
                f"holds {array.dtype} of shape {array.shape}; numbers (H, W), (C, H, W), (H, W, C) or (N, …) are wanted"
            )
        array = array if array.ndim == 4 else array[None]
    elif path.suffix.lower() not in TIFFS:
        if not is_deep_grey(path):
            raise ValueError("no TIFF, and no PNG in grey of 16 bits, as those that it is read with")
        with Image.open(regular(path)) as image:
            array, layout = np.asarray(image).astype(np.uint16)[None, None], "chw"
    else:
        import tifffile

        with tifffile.TiffFile(regular(path)) as file:
            if not file.series:
                raise ValueError("no picture of a known format")
            series = file.series[0]
            array, axes = series.asarray(), series.axes
        if "Y" not in axes or "X" not in axes or array.dtype.kind not in "biuf":
            raise ValueError(f"holds {array.dtype} with the axes {axes}; numbers with a height and a width are wanted")
        array = np.moveaxis(array, (axes.index("Y"), axes.index("X")), (-2, -1))
        array, layout = array.reshape(1, -1, *array.shape[-2:]), "chw"
    array = array.astype(
        {"b": np.uint8, "u2": np.int32, "u4": np.int64, "u8": np.float64}.get(_key(array.dtype), array.dtype.newbyteorder("="))
    )
    images = torch.from_numpy(np.ascontiguousarray(array))
    return channels_first(images, channel_axis(tuple(images.shape), layout, str(path), logging.DEBUG))


def _key(dtype: np.dtype) -> str:
    return "b" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize}"


def _whole_range(path: Path) -> tuple[float, float] | None:
    """The range of the type that a file holds, if that is of whole numbers."""
    if path.suffix.lower() == ".npy":
        dtype = np.load(path, allow_pickle=False, mmap_mode="r").dtype
    elif path.suffix.lower() not in TIFFS:
        dtype = np.dtype(np.uint16)
    else:
        import tifffile

        with tifffile.TiffFile(path) as file:
            dtype = np.dtype(file.series[0].dtype)
    if dtype.kind == "b":
        return 0.0, 1.0
    return (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "iu" else None


@dataclass(frozen=True)
class Rasters:
    """Pictures, read.

    Attributes:
        place: How messages name the set.
        examples: All of them, as the files hold them.
        files: For each picture, the name of the file that it is in.
        broken: Why files could not be read, by their name.
        whole: The range of the files' type, if that is of whole numbers.
    """

    place: str
    examples: Shaped[Tensor, "N C H W"]
    files: list[str]
    broken: dict[str, str]
    whole: tuple[float, float] | None

    def source(
        self, train: Int[Tensor, " n"], said: tuple[float, float] | None, level: int = logging.WARNING
    ) -> tuple[float, float] | None:
        """Returns the values that are brought into a range, by the rules above; None where they are bytes and stay so.

        Args:
            train: Which pictures decide on the range of floats.
            said: What the user says it is.
            level: Of the log line that says what was measured.
        """
        if said is None and self.whole == (0.0, 255.0):
            return None
        return said or self.whole or _float_range(self.examples[train], self.place, level)

    def scaled(self, source: tuple[float, float] | None, value_range: tuple[float, float]) -> Shaped[Tensor, "N C H W"]:
        """Brings values from the range of `source` into another, as 32-bit floats; bytes stay bytes without one."""
        if source is None:
            return self.examples.to(torch.uint8)
        (low, high), (start, end) = source, value_range
        scaled = (self.examples.double() - low).mul_((end - start) / (high - low)).add_(start).float()
        return scaled.clamp_(start, end)


def read_rasters(folder: Path, names: Sequence[str], form: Form, layout: Layout) -> Rasters:
    """Reads the pictures of a folder that are more than bytes in grey or colour.

    Args:
        folder: Where they are.
        names: Their names.
        form: Crop and size; channels stay those of the files.
        layout: Where the channels of arrays with three axes are.

    Raises:
        DataError: Their shapes or types differ, or none can be read.
    """
    read: list[Tensor] = []
    files: list[str] = []
    broken: dict[str, str] = {}
    for name in names:
        try:
            with quiet():
                images = _formed(_read(folder / name, layout), form)
            if images.is_floating_point() and not images.isfinite().all():
                raise ValueError("holds values that are not finite")
        except Exception as error:  # a damaged file can fail anywhere
            broken[name] = str(error) or type(error).__name__
            continue
        if read and (images.shape[1:] != read[0].shape[1:] or images.dtype != read[0].dtype):
            raise DataError(
                f"{folder}: {name} holds {images.dtype} of shape {tuple(images.shape[1:])} (channels, height, width), {files[0]} "
                f"{read[0].dtype} of {tuple(read[0].shape[1:])}; all must be alike: size = [64, 64] resizes, one type of number is needed"
            )
        read.append(images)
        files += [name] * len(images)
    if not read:
        listed = "\n  ".join(f"{name}: {reason}" for name, reason in list(broken.items())[:10])
        raise DataError(f"{folder}: none of its {len(names)} pictures can be used\n  {listed}")
    return Rasters(str(folder), torch.cat(read), files, broken, _whole_range(folder / files[0]))


def own_raster(path: Path, form: Form, shape: Shape, layout: Layout) -> tuple[Shaped[Tensor, "*x"], tuple[float, float] | None]:
    """Reads a user's own file as the pictures of a set were read that have this form and shape; another size is resized to theirs.

    Returns:
        Bytes, or other numbers as float64, as the file has them; and the range of its type, if that is of whole numbers.

    Raises:
        DataError: It cannot be read, holds several pictures or values that are not finite, or has other channels.
    """
    try:
        images = _formed(_read(path, layout), form)
        if not images.isfinite().all():
            raise ValueError("it holds values that are not finite")
        whole = _whole_range(path)
        if len(images) != 1 or images.shape[1] != shape[0]:
            raise ValueError(f"it holds {tuple(images.shape)} (pictures, channels, height, width), the model takes {tuple(shape)}")
    except Exception as error:  # a damaged file can fail anywhere
        raise DataError(f"{path} cannot be read as a picture: {str(error) or type(error).__name__}") from error
    if images.shape[1:] != shape:
        size = (shape[1], shape[2])
        log.warning("%s is %dx%d (height x width) and was resized to the model's %dx%d", path, *images.shape[2:], *size)
        images = _formed(images, Form(size=size))
    return images[0] if whole == (0.0, 255.0) else images[0].double(), whole


def _float_range(examples: Tensor, place: str, level: int) -> tuple[float, float]:
    low, high = float(examples.min()), float(examples.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    text = "%s: [%g, %g], the range of the training pictures, is mapped on value_range; source_range says another"
    log.log(level, text, place, low, high)
    return apart(low, high)


def _formed(images: Tensor, form: Form) -> Tensor:
    """Crops the middle and resizes, with antialiasing; whole numbers are rounded."""
    height, width = images.shape[-2:]
    if form.crop is not None:
        if form.crop[0] > height or form.crop[1] > width:
            raise ValueError(f"{height}x{width} is smaller than the crop {form.crop[0]}x{form.crop[1]}")
        top, left = (height - form.crop[0]) // 2, (width - form.crop[1]) // 2
        images = images[..., top : top + form.crop[0], left : left + form.crop[1]]
    if form.size is None or tuple(images.shape[-2:]) == form.size:
        return images
    resized = F.interpolate(images.double(), size=form.size, mode="bilinear", antialias=True)
    return (resized if images.is_floating_point() else resized.round()).to(images.dtype)
