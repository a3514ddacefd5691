"""SVHN: house numbers in street views, cut to single digits (Netzer et al., 2011), from its `.mat` files of 32x32 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.base import StoredSource, ValueRange, quiet
from owae_data.shelf import Remote, Shelf
from owae_data.store import Block, Decoded, Recipe, fingerprint, writable_root

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
        shelf = Shelf(self.name, root, "SVHN", download=download, verify=verify)
        paths = {part: shelf.obtain(lambda part=part: _remote(part), f"{part}_32x32.mat") for part in wanted}
        key = {"files": fingerprint((path.name, path) for path in paths.values()), "verify": verify}
        file = Decoded(writable_root(root), self.name, key)
        examples = file.load()
        if examples is None:
            for part, path in paths.items():
                shelf.check(path, lambda part=part: _remote(part))
            shapes = [_shape(shelf, part, path) for part, path in paths.items()]
            whole = (sum(shape[3] for shape in shapes), *(shapes[0][axis] for axis in (2, 0, 1)))
            examples = file.make(Recipe(whole, lambda: _blocks(shelf, paths)))
        labels = np.concatenate([_variable(shelf, part, path, "y").ravel() for part, path in paths.items()]).astype(np.int64)
        if len(labels) != len(examples):
            raise DataError(f"{', '.join(map(str, paths.values()))}: {len(labels)} labels for {len(examples)} images")
        super().__init__(examples, labels=torch.from_numpy(labels % 10), value_range=value_range)  # the files say 10 for 0

    @classmethod
    def declared_shape(cls, *, verify: bool, **options: Any) -> Shape | None:
        """That of the official images; others, which `verify = false` lets in, may have any."""
        return (3, 32, 32) if verify else None


def _remote(part: str) -> Remote:
    with quiet():
        from torchvision.datasets import SVHN

    url, name, md5 = SVHN.split_list[part]
    return Remote(name, md5, url, (url,))


def _shape(shelf: Shelf, part: str, path: Path) -> tuple[int, ...]:
    from scipy.io import whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        shape = shapes.get("X", ())
        if "y" not in shapes or len(shape) != 4 or shape[2] != 3:
            raise ValueError(f"holds arrays {shapes}, not 'X' of shape (32, 32, 3, N) and 'y'")
    except Exception as error:  # a damaged file fails in many ways
        raise shelf.unfit(path, lambda: _remote(part), f"cannot be read ({error})") from error
    return shape


def _variable(shelf: Shelf, part: str, path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        return loadmat(path, variable_names=[name])[name]
    except Exception as error:  # a damaged file fails in many ways
        raise shelf.unfit(path, lambda: _remote(part), f"cannot be read ({error})") from error


def _blocks(shelf: Shelf, paths: dict[str, Path]) -> Iterator[Block]:
    for part, path in paths.items():
        images = _variable(shelf, part, path, "X")
        for at in range(0, images.shape[3], RUN):
            yield images[..., at : at + RUN].transpose(3, 2, 0, 1)
