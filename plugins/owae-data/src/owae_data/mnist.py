"""MNIST: 70,000 handwritten digits (LeCun, Cortes and Burges, 1998), from its four files in the IDX format."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8

from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.base import StoredSource, ValueRange, quiet
from owae_data.shelf import Remote, Shelf
from owae_data.store import Decoded, Recipe, fingerprint, writable_root

FILES = {"train": "train", "test": "t10k"}  # what the splits are called in file names


class Mnist(StoredSource):
    """The official 60,000 images to train on and 10,000 to test on, (1, 28, 28), with their digits as labels.

    The files are looked for, packed (`.gz`) or unpacked, in `mnist`, in torchvision's `MNIST/raw` and in the data folder itself.

    Args:
        root: The data folder; by default that in the environment variable `OWAE_DATA`, or else the user's cache folder.
        download: Whether to download what is missing.
        verify: Whether packed files must have the official checksums.
        value_range: What black ground and white ink stand for.
    """

    name = "mnist"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        root: Path | None = None,
        download: bool = True,
        verify: bool = True,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        shelf = Shelf(self.name, root, "MNIST/raw", download=download, verify=verify)
        images = _path(shelf, f"{FILES[split]}-images-idx3-ubyte")
        labels = _path(shelf, f"{FILES[split]}-labels-idx1-ubyte")
        key = {"files": fingerprint((path.name, path) for path in (images, labels)), "verify": verify}
        file = Decoded(writable_root(root), self.name, key)
        examples = file.load()
        if examples is None:
            for path in (images, labels):
                if path.suffix == ".gz":
                    shelf.check(path, lambda name=path.name: _remote(name))
            pixels = _read(shelf, images, 3)
            examples = file.make(Recipe((len(pixels), 1, *pixels.shape[1:]), lambda: [pixels[:, None]]))
        numbers = _read(shelf, labels, 1)
        if len(numbers) != len(examples):
            raise DataError(f"{labels} has {len(numbers)} labels for the {len(examples)} images in {images}")
        super().__init__(examples, labels=torch.from_numpy(numbers.astype(np.int64)), value_range=value_range)

    @classmethod
    def declared_shape(cls, *, verify: bool, **options: Any) -> Shape | None:
        """That of the official images; others, which `verify = false` lets in, may have any."""
        return (1, 28, 28) if verify else None


def _path(shelf: Shelf, name: str) -> Path:
    return shelf.obtain(lambda: _remote(f"{name}.gz"), f"{name}.gz", name, name.replace("-idx", ".idx"))


def _remote(name: str) -> Remote:
    with quiet():
        from torchvision.datasets import MNIST

    name = f"{name.removesuffix('.gz')}.gz"
    checksums = dict(MNIST.resources)
    return Remote(name, checksums[name], MNIST.mirrors[0] + name, tuple(mirror + name for mirror in MNIST.mirrors))


def _read(shelf: Shelf, path: Path, axes: int) -> UInt8[np.ndarray, "N ..."]:
    """The bytes in an IDX file: two zero bytes, the dtype (8 for bytes), the number of axes, their lengths, and the entries."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = bytearray(file.read())  # torch wants memory that it may write to
        if data[:4] != bytes([0, 0, 8, axes]):
            raise ValueError(f"does not begin like an IDX file of bytes with {axes} axes")
        lengths = np.frombuffer(data, ">i4", axes, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(lengths)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise shelf.unfit(path, lambda: _remote(path.name), f"cannot be read ({error})") from error
