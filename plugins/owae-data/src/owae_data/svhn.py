"""SVHN: house numbers in street views, cut to single digits (Netzer et al., 2011), from its `.mat` files of 32x32 pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from owae.interfaces import Shape
from owae_data.base import StoredSource, ValueRange
from owae_data.cache import Block, Decoder
from owae_data.public_files import Labelled, LocalFile, OfficialFile, PublicFiles

URL = "http://ufldl.stanford.edu/housenumbers/"
CHECKSUMS = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "extra": "a93ce644f1a588dc4d68dda5feec44a7",
    "test": "eb5a983be6a315427106f1b164d9cef3",
}
RUN = 8192  # images written at a time


class Svhn(StoredSource):
    """The cropped digits, (3, 32, 32), labelled 0…9: 73,257 to train on, 531,131 easier ones besides, 26,032 to test on.

    The files are looked for in `svhn` and in the data folder itself. They are decoded once, into `decoded` in the data folder.

    Args:
        parts: What to train on: "train", "extra" or "both" (the paper's choice).
        root: The data folder; by default that in the environment variable `OWAE_DATA`, or else the user's cache folder.
        download: Whether to download what is missing (extra is 1.3 GB).
        verify: Whether files must have the official checksums.
        value_range: What 0 and 255 stand for.
    """

    name = "svhn"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        parts: Literal["train", "extra", "both"] = "train",
        root: Path | None = None,
        download: bool = True,
        verify: bool = True,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        wanted = ("train", "extra") if parts == "both" else (parts,)
        if split == "test":
            wanted = ("test",)
        files = PublicFiles(self.name, root, "SVHN", download=download, verify=verify)
        found = [files.fetch(official(part)) for part in wanted]
        part = files.convert(*found, decode=lambda: decode(found))
        super().__init__(part.examples, labels=part.labels, value_range=value_range)

    @classmethod
    def declared_shape(cls, *, verify: bool, **options: Any) -> Shape | None:
        """That of the official images; others, which `verify = false` lets in, may have any."""
        return (3, 32, 32) if verify else None


def official(part: str) -> OfficialFile:
    """The file of one part: train, extra or test."""
    name = f"{part}_32x32.mat"
    return OfficialFile(name, CHECKSUMS[part], URL + name, (URL + name,))


def decode(files: Sequence[LocalFile]) -> Labelled:
    """Reads files of SVHN, one after the other."""
    shapes = [_shape(file) for file in files]
    height, width, channels, _ = shapes[0]
    for file, shape in zip(files, shapes, strict=True):
        if shape[:3] != shapes[0][:3]:
            raise file.error(f"has images of shape {shape[:3]}, {files[0].path.name} of shape {shapes[0][:3]}")
    labels = np.concatenate([_labels(file) for file in files]) % 10  # the files say 10 for 0
    return Labelled(Decoder((sum(shape[3] for shape in shapes), channels, height, width), lambda: _blocks(files)), labels)


def _shape(file: LocalFile) -> tuple[int, ...]:
    from scipy.io import whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(file.path)}
        shape = shapes.get("X", ())
        if len(shape) != 4 or shape[2] != 3 or 0 in shape or math.prod(shapes.get("y", ())) != shape[3]:
            raise ValueError(f"holds arrays {shapes}, not 'X' of shape (32, 32, 3, N) and 'y' with a label for each image")
    except Exception as error:  # a damaged file fails in many ways
        raise file.error(f"cannot be read ({error})") from error
    return shape


def _variable(file: LocalFile, name: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        return loadmat(file.path, variable_names=[name])[name]
    except Exception as error:  # a damaged file fails in many ways
        raise file.error(f"cannot be read ({error})") from error


def _blocks(files: Sequence[LocalFile]) -> Iterator[Block]:
    for file in files:
        images = _variable(file, "X")
        for at in range(0, images.shape[3], RUN):
            yield _whole(file, "X", images[..., at : at + RUN], 0, 255).astype(np.uint8).transpose(3, 2, 0, 1)


def _labels(file: LocalFile) -> np.ndarray:
    """One class for each image of a file, as the file numbers them: 1…10, where 10 is the digit 0."""
    shape = _shape(file)
    labels = _whole(file, "y", _variable(file, "y").ravel(), 1, 10)
    if len(labels) != shape[3]:
        raise file.error(f"has {len(labels)} labels for {shape[3]} images")
    return labels.astype(np.int64)


def _whole(file: LocalFile, name: str, array: np.ndarray, low: int, high: int) -> np.ndarray:
    """Returns an array as it is if it holds whole numbers within these bounds, whatever its type."""
    if array.dtype == np.uint8 and (low, high) == (0, 255):
        return array
    wanted = f"whole numbers {low}…{high} are wanted"
    if array.dtype.kind not in "iuf":
        raise file.error(f"has '{name}' of type {array.dtype}; {wanted}")
    least, most = array.min(), array.max()  # NaN wins over any number
    fractions = array.dtype.kind == "f" and not (array == np.floor(array)).all()
    scaled = array.dtype.kind == "f" and 0 < most <= 1 < high - low  # black and white alone, as fractions of white
    if not (low <= least and most <= high) or fractions or scaled:
        raise file.error(f"has '{name}' from {least:g} to {most:g}{', with fractions' if fractions else ''}; {wanted}")
    return array
