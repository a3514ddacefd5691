"""SVHN: house numbers in street views, cut to single digits (Netzer et al., 2011), from its `.mat` files of 32x32 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.base import StoredSource, ValueRange
from owae_data.cache import Block, Decoder
from owae_data.public_files import LocalFile, OfficialFile, PublicFiles

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
        found = [files.fetch(_official(part)) for part in wanted]
        examples = files.convert(*found, decoder=lambda: _decoder(found))
        labels = np.concatenate([_variable(file, "y").ravel() for file in found]).astype(np.int64)
        if len(labels) != len(examples):
            raise DataError(f"{', '.join(str(file.path) for file in found)}: {len(labels)} labels for {len(examples)} images")
        super().__init__(examples, labels=torch.from_numpy(labels % 10), value_range=value_range)  # the files say 10 for 0

    @classmethod
    def declared_shape(cls, *, verify: bool, **options: Any) -> Shape | None:
        """That of the official images; others, which `verify = false` lets in, may have any."""
        return (3, 32, 32) if verify else None


def _official(part: str) -> OfficialFile:
    name = f"{part}_32x32.mat"
    return OfficialFile(name, CHECKSUMS[part], URL + name, (URL + name,))


def _decoder(files: Sequence[LocalFile]) -> Decoder:
    shapes = [_shape(file) for file in files]
    height, width, channels, _ = shapes[0]
    return Decoder((sum(shape[3] for shape in shapes), channels, height, width), lambda: _blocks(files))


def _shape(file: LocalFile) -> tuple[int, ...]:
    from scipy.io import whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(file.path)}
        shape = shapes.get("X", ())
        if "y" not in shapes or len(shape) != 4 or shape[2] != 3:
            raise ValueError(f"holds arrays {shapes}, not 'X' of shape (32, 32, 3, N) and 'y'")
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
            yield images[..., at : at + RUN].transpose(3, 2, 0, 1)
