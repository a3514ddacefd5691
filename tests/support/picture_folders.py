"""Folders of random pictures, and what `image-folder` makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from owae_data.image_folder import ImageFolder

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")
RNG = np.random.default_rng(0)


def save(path: Path, *shape: int, **options: Any) -> np.ndarray:
    """Writes a picture of random pixels, and returns them."""
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def whole(path: Path, **options: Any) -> torch.Tensor:
    """Reads the examples of both splits."""
    sources = [ImageFolder(split, path=path, **options) for split in SPLITS]
    return torch.cat([source.batch(torch.arange(len(source))) for source in sources])
