"""Opens sets by torchvision's own classes, where these read picture files, and load no pickle."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from owae.errors import DataError
from owae_data.base import quiet
from owae_data.cache import fingerprint
from owae_data.picture_sets import Pictures
from owae_data.pictures import regular

_LABELS = ("targets", "labels", "_labels", "_targets", "y")  # what torchvision's classes call them
_CLASSES = ("classes", "categories")


@dataclass(frozen=True)
class Opened:
    """A part of a set, opened and not yet read.

    Attributes:
        pictures: What there is to read.
        labels: The class of each, or None.
        classes: Names of the classes, or None.
        channels: How many the pictures have, as the set gives them.
        key: What decoded bytes depend on.
    """

    pictures: Pictures
    labels: Int[Tensor, " N"] | None
    classes: tuple[str, ...] | None
    channels: int
    key: str


def open_dataset(dataset: Any, root: Path, arguments: dict[str, Any], takes: set[str], *, download: bool, colour: bool) -> Opened:
    """Opens a part of a set by its class.

    Args:
        dataset: The class.
        root: Its folder, as torchvision lays files out in it.
        arguments: What else it is made with.
        takes: Which arguments it knows.
        download: Whether it may download what is missing.
        colour: Whether files are read in colour, as torchvision does, or else in grey.

    Raises:
        DataError: Its files are missing.
        ValueError: It refuses an argument.
    """
    if "root" in takes:
        arguments = {"root": root, **arguments}
    by_path = "loader" in takes
    if by_path:
        arguments["loader"] = _path
    with quiet():
        made = _make(dataset, root, arguments, may_download="download" in takes, download=download)
    if not len(made):
        raise DataError(f"torchvision's {dataset.__name__} found no picture in {root}")
    if by_path:
        items = [made[index] for index in range(len(made))]
        names = [_relative(Path(path), root) for path, _ in items]
        pictures = Pictures(names, lambda name: regular(root / name), str(root))
        labels = _numbers([label for _, label in items])
        return Opened(pictures, labels, _classes(made, labels), 3 if colour else 1, fingerprint(_stats(root, names)))
    reader = _Reader(made)
    first = reader.open("0")
    channels = 1 if isinstance(first, Image.Image) and first.mode in ("1", "L") else 3
    pictures = Pictures([str(index) for index in range(len(made))], reader.open, f"torchvision's {dataset.__name__} in {root}")
    labels = _labels(made)
    return Opened(pictures, labels, _classes(made, labels), channels, reader.key())


def _make(dataset: Any, root: Path, arguments: dict[str, Any], *, may_download: bool, download: bool) -> Any:
    """Makes the dataset of what is there, and only where that fails of what it downloads."""
    no = {"download": False} if may_download else {}
    try:
        return dataset(**arguments, **no)
    except (RuntimeError, OSError, ImportError) as error:
        first = error
    try:
        if may_download and download:
            return dataset(**arguments, download=True)
        reason = f"({first}), and download = false" if may_download else f"({first}); torchvision cannot download it"
    except (RuntimeError, OSError, ImportError) as error:
        reason = f"and cannot be downloaded ({error})"
    page = f"https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.{dataset.__name__}.html"
    raise DataError(
        f"torchvision's {dataset.__name__} is not in {root} {reason}; put its files there, laid out as {page} says, or set root or "
        "OWAE_DATA to a folder that has them"
    ) from first


def _path(path: Any) -> Any:
    """What stands in for torchvision's reader of files: owae has its own."""
    return path


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _stats(root: Path, names: Sequence[str]) -> list[tuple[str, Path]]:
    return [(name, root / name) for name in names]


class _Reader:
    """Reads pictures of a dataset, one at a time: some seed torch's generator meanwhile."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._lock = threading.Lock()

    def open(self, name: str) -> Any:
        """Picture number `name`."""
        with self._lock:
            return self.dataset[int(name)][0]

    def key(self) -> str:
        """A text that tells the pictures from others, by 32 of them."""
        import hashlib

        digest = hashlib.sha256(str(len(self.dataset)).encode())
        for index in np.linspace(0, len(self.dataset) - 1, min(32, len(self.dataset))).astype(int):
            digest.update(np.ascontiguousarray(np.asarray(self.open(str(index)))).tobytes())
        return digest.hexdigest()


def _labels(dataset: Any) -> Int[Tensor, " N"] | None:
    """The class of each picture: the list that the dataset keeps of them, if it agrees with what it gives; else asked for one by one."""
    spread = sorted({0, len(dataset) // 2, len(dataset) - 1})
    given = _numbers([dataset[index][1] for index in spread])
    if given is None:
        return None
    for name in _LABELS:
        kept = getattr(dataset, name, None)
        if kept is None or not hasattr(kept, "__len__") or len(kept) != len(dataset):
            continue
        numbers = _numbers(list(kept))
        if numbers is not None and torch.equal(numbers[spread], given):
            return numbers
    return _numbers([dataset[index][1] for index in range(len(dataset))])


def _numbers(labels: list[Any]) -> Int[Tensor, " N"] | None:
    """Classes as numbers; None if they are anything else, as several at once are."""
    try:
        numbers = torch.tensor([int(label) for label in labels])
    except (TypeError, ValueError, RuntimeError):
        return None
    return numbers if int(numbers.min()) >= -1 else None


def _classes(dataset: Any, labels: Int[Tensor, " N"] | None) -> tuple[str, ...] | None:
    """Names of the classes; None where the dataset has none for its labels."""
    for name in _CLASSES:
        kept = getattr(dataset, name, None)
        if labels is not None and isinstance(kept, Sequence) and len(kept) > int(labels.max()):
            return tuple(", ".join(one) if isinstance(one, list | tuple) else str(one) for one in kept)
    return None
