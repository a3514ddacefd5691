"""A user's own image files as events of a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from owae.errors import DataError
from owae.interfaces import Shape
from owae_report.pixels import drawable

logger = logging.getLogger(__name__)

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def load_images(paths: Sequence[Path], shape: Shape, value_range: tuple[float, float]) -> Float[Tensor, "n *x"]:
    """Image files, and those in folders (sorted by name), as events of a shape, mapped onto a value range.

    Another number of channels is converted, another size resized, with a warning.

    Raises:
        DataError: A file is missing or no image, a folder holds none, or events of that shape are not images.
    """
    if not drawable(shape):
        raise DataError(f"the model's data have shape {shape}; image files fit (H, W), or (C, H, W) with 1, 3 or 4 channels")
    low, high = value_range
    images = np.stack([_load(path, shape) for path in image_files(paths)])
    return torch.from_numpy(images).float().mul_((high - low) / 255).add_(low)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Lists picture files, and those in folders, sorted by name."""
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in known and not p.name.startswith("."))
            if not inside:
                raise DataError(f"{path} holds no image files")
            files += inside
        else:
            files.append(path)
    return files


def _load(path: Path, shape: Shape) -> np.ndarray:
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    if image.mode.startswith("I"):
        # Pillow cuts 16-bit grey off at 255 where it should scale.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    image = image.convert("L" if len(shape) == 2 else _MODES[shape[0]])
    height, width = shape[-2:]
    if image.size != (width, height):
        logger.warning("%s is %d×%d and was resized to the model's %d×%d", path, image.width, image.height, width, height)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels.reshape(shape) if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
