"""Opens sets by torchvision's names, and holds them to what torchvision's own classes give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from owae_data.vision.source import Torchvision


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_pictures(folder: Path, *names: str, size: tuple[int, int] = (6, 8), mode: str = "RGB") -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random_bytes(*size, 3, seed=number)
        Image.fromarray(pixels).convert(mode).save(path)


def opened(name: str, part: Any = "train", **options: Any) -> Torchvision:
    return Torchvision(part, name=name, verify=False, download=False, **options)


def everything(source: Torchvision) -> torch.Tensor:
    return source.batch(torch.arange(len(source)))


def labels_of(source: Torchvision) -> list[int]:
    assert source.labels is not None
    return source.labels.tolist()


def check_same(source: Torchvision, dataset: Any, *, upright: bool = False) -> None:
    """Holds a source to what torchvision's class gives, picture by picture, and to its classes."""
    assert len(source) == len(dataset) > 0
    for index in range(len(dataset)):
        picture, label = dataset[index]
        pixels = np.asarray(picture)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        assert np.array_equal(source[index].numpy(), pixels.swapaxes(1, 2) if upright else pixels)
        assert source.labels is None or int(source.labels[index]) == int(label)
