"""Reads arrays from `.npy` and `.npz` files: never through pickle, and known by their headers before anything is read."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from owae.errors import DataError, suggestion
from owae_data.base import LARGE

# What the arrays of a .npz are usually called, the likeliest first, in any case.
IMAGES = ("x", "images", "data", "x_train", "train_images", "images_train", "features")
LABELS = ("y", "labels", "label", "targets", "target", "y_train", "train_labels", "labels_train")
TEST_IMAGES = (
    *("x_test", "test_images", "images_test", "test_data", "data_test"),
    *("x_val", "x_valid", "val_images", "images_val", "val_data", "data_val"),  # where nothing else is for testing
)
TEST_LABELS = (
    "y_test",
    "test_labels",
    "labels_test",
    "test_targets",
    "targets_test",
    "y_val",
    "y_valid",
    "val_labels",
    "labels_val",
)

MAPPABLE = frozenset(map(np.dtype, ("?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8")))  # what torch can gather rows of


@dataclass(frozen=True)
class ArrayFile:
    """A file of one array (`.npy`, whose key is the empty string) or of several (`.npz`), of which only the headers were read.

    Attributes:
        path: The file.
        headers: Shape and dtype of each array, by its key.
    """

    path: Path
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]

    @property
    def single(self) -> bool:
        """True for a `.npy`, False for a `.npz`."""
        return "" in self.headers

    def find(self, *names: str) -> str | None:
        """The key that is the first of these names, in any case; the key of a `.npy`'s array is that, whatever the names."""
        by_lower = {key.lower(): key for key in reversed(self.headers)}
        return "" if self.single else next((by_lower[name] for name in names if name in by_lower), None)

    def images(self) -> str:
        """The key of the images: one of the usual names, or else the array with more elements than any other.

        Raises:
            DataError: No array stands out.
        """
        found = self.find(*IMAGES)
        if found is not None:
            return found
        sizes = {key: int(np.prod(shape)) for key, (shape, _) in self.headers.items() if key.lower() not in TEST_IMAGES}
        largest = [key for key, size in sizes.items() if size == max(sizes.values())]
        if len(largest) != 1:
            raise DataError(
                f"{self.path}: cannot tell which array holds the images; set the option images to one of: {self.listing()}"
            )
        return largest[0]

    def read(self, key: str) -> np.ndarray:
        """Reads an array in the machine's byte order; a large `.npy` is mapped (copy-on-write), anything else read into memory.

        Raises:
            DataError: There is no such key, the file is damaged, or the array holds Python objects, which only a pickle could load.
        """
        if key not in self.headers:
            raise DataError(f"{self.path} has no array '{key}'; {suggestion(key, self.headers)}")
        dtype = self.headers[key][1]
        if dtype.hasobject:
            raise DataError(
                f"{self.place(key)} holds Python objects, which would take a pickle to load; save a plain array of numbers"
            )
        mapped = self.single and self.path.stat().st_size > LARGE and dtype in MAPPABLE and dtype.isnative
        try:
            loaded = np.load(self.path, allow_pickle=False, mmap_mode="c" if mapped else None)
            array = loaded if self.single else loaded[key]
        except Exception as error:  # a damaged file fails in zipfile, zlib or numpy
            raise DataError(f"cannot read {self.place(key)} ({error}): the file is damaged or incomplete") from error
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def place(self, key: str) -> str:
        """Names an array for messages."""
        return f"'{key}' in {self.path}" if key else str(self.path)

    def listing(self) -> str:
        """Lists the arrays with their shapes and dtypes, for messages."""
        return ", ".join(f"'{key}' {shape} {dtype}" for key, (shape, dtype) in self.headers.items())


def open_arrays(path: Path) -> ArrayFile:
    """Opens a `.npy` or `.npz` file, told by its content, whatever its name.

    Raises:
        DataError: It is missing, a folder, or neither of the two.
    """
    path = path.expanduser()
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {found}; a .npy or .npz file is wanted")
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return ArrayFile(path, _members(path))
            file.seek(0)
            return ArrayFile(path, {"": _header(file)})
    except Exception as error:  # whatever a damaged or foreign file leads zipfile and numpy into
        raise DataError(
            f"{path} is no .npy or .npz file of plain arrays ({error}); write one with numpy.save or numpy.savez"
        ) from error


def _members(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    headers[name.removesuffix(".npy")] = _header(member)
    if not headers:
        raise ValueError("a zip archive with no array in it")
    return headers


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
