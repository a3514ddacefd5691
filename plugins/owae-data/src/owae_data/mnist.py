"""MNIST: 70,000 handwritten digits (LeCun, Cortes and Burges, 1998), from its four files in the IDX format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from owae.interfaces import Shape
from owae_data.base import StoredSource, ValueRange
from owae_data.public_files import LocalFile, OfficialFile, PublicFiles
from owae_data.vision.idx import labelled

MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
CHECKSUMS = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
FILES = {"train": "train", "test": "t10k"}  # what the splits are called in file names


class Mnist(StoredSource):
    """The official 60,000 images to train on and 10,000 to test on, (1, 28, 28), with their digits as labels.

    The files are looked for, packed (`.gz`) or unpacked, in `mnist`, in torchvision's `MNIST/raw` and in the data folder itself.
    Sets of the same format are `{ kind = "torchvision", name = "FashionMNIST" }` and so on.

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
        files = PublicFiles(self.name, root, "MNIST/raw", download=download, verify=verify)
        images, labels = (_fetch(files, f"{FILES[split]}-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
        part = files.convert(images, labels, decode=lambda: labelled(images, labels))
        super().__init__(part.examples, labels=part.labels, value_range=value_range)

    @classmethod
    def declared_shape(cls, *, verify: bool, **options: Any) -> Shape | None:
        """That of the official images; others, which `verify = false` lets in, may have any."""
        return (1, 28, 28) if verify else None


def _fetch(files: PublicFiles, name: str) -> LocalFile:
    packed = f"{name}.gz"
    official = OfficialFile(packed, CHECKSUMS[name], MIRRORS[0] + packed, tuple(mirror + packed for mirror in MIRRORS))
    return files.fetch(official, name, name.replace("-idx", ".idx"))
