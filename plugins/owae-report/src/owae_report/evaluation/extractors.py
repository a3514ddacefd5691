"""Turns examples into the features that samples are judged by: pixels themselves, or what a network makes of them.

An extractor takes events on the unit scale, so that the same pictures as [−1, 1] and as [0, 1] give the same features. `extractor`
makes one of its name; `owae_report.evaluation.networks` has those with weights from elsewhere.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from owae.data.sources import examples
from owae.errors import DataError, OwaeError, suggestion
from owae.files import expanded
from owae.interfaces import DataSource, Shape

MOST_PIXELS = 1024  # features of pixels; a covariance of more needs more examples than anybody has
_BLOCK = 500  # examples whose features are computed at once

# With the place of weights or features behind the name, as "inception weights.pth".
WITH_PATH = ("inception", "dinov2")
NAMES = ("pixels", "classifier", "random", "efficientnet-lite0", *WITH_PATH)


class Extractor(ABC):
    """Computes features of events.

    Attributes:
        name: What it is called in tables.
        title: What a Fréchet distance of these features may be called: FID with Inception alone.
    """

    name: str
    title = "Fréchet distance"

    @abstractmethod
    def __call__(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n d"]:
        """Returns the features of events on the unit scale."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Says what the features are: the hash of the weights, what pictures are resized to, what else decides the numbers."""


class Pixels(Extractor):
    """The values themselves; where there are over 1,024, pictures are shrunk by averaging, and vectors projected at random."""

    name = "pixels"

    def __init__(self, shape: Shape) -> None:
        self._resize: tuple[int, int] | None = None
        self._projection: Tensor | None = None
        size = math.prod(shape)
        if size <= MOST_PIXELS:
            return
        if is_picture(shape):
            factor = math.sqrt(MOST_PIXELS / size)
            self._resize = max(1, math.floor(shape[-2] * factor)), max(1, math.floor(shape[-1] * factor))
        else:
            generator = torch.Generator().manual_seed(0)
            self._projection = torch.linalg.qr(torch.randn(size, MOST_PIXELS, generator=generator))[0]

    def __call__(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n d"]:
        if self._resize is not None:
            x = nn.functional.adaptive_avg_pool2d(as_channels(x), self._resize)
        x = x.flatten(1)
        return x if self._projection is None else x @ self._projection

    def describe(self) -> dict[str, Any]:
        return {
            "resize": None if self._resize is None else list(self._resize),
            "projected": None if self._projection is None else MOST_PIXELS,
            "hash": None,
        }


class FileFeatures:
    """Features computed elsewhere: arrays `samples`, `held_out` and, for the floor, `train` of a .npz file, each (n, d).

    Raises:
        DataError: The file cannot be read or holds something else.
    """

    title = "Fréchet distance"

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {key: torch.from_numpy(np.asarray(file[key], dtype=np.float32)) for key in file.files}
            self._hash = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except Exception as error:  # a damaged file fails in zipfile, zlib or numpy
            raise DataError(f"{path} cannot be read as a .npz file of features: {error}") from error
        missing = [key for key in ("samples", "held_out") if key not in arrays]
        if missing or len({each.shape[1:] for each in arrays.values()}) != 1 or any(each.ndim != 2 for each in arrays.values()):
            found = ", ".join(f"{key} {tuple(each.shape)}" for key, each in arrays.items()) or "nothing"
            raise DataError(
                f"{path} holds {found}; arrays samples (n, d), held_out (m, d) and, for the floor, train (k, d) would work"
            )
        self.samples, self.held_out, self.train = arrays["samples"], arrays["held_out"], arrays.get("train")

    def describe(self) -> dict[str, Any]:
        """Says what file they come from."""
        return {"resize": None, "hash": self._hash}


def is_picture(shape: Shape) -> bool:
    """Tells whether events can be convolved: (H, W), or (C, H, W), at least four pixels each way."""
    return len(shape) in (2, 3) and min(shape[-2:]) >= 4


def as_channels(x: Tensor) -> Float[Tensor, "n C H W"]:
    """Gives pictures (n, H, W) a channel; others stay."""
    return x[:, None] if x.ndim == 3 else x


def unit_scale(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Maps values linearly so that the range becomes [0, 1]; those of an unbounded or empty range stay."""
    low, high = value_range
    return (x - low) / (high - low) if math.isfinite(low) and math.isfinite(high) and high > low else x


def evenly(count: int, n: int) -> Tensor:
    """Returns the places of at most n of `count` examples, evenly spread, for sets may be ordered by class."""
    return torch.linspace(0, count - 1, min(count, n), dtype=torch.float64).round().long()


@torch.no_grad()
def features_of(extractor: Extractor, blocks: Iterable[Tensor]) -> Float[Tensor, "n d"]:
    """Computes the features of blocks of events on the unit scale."""
    return torch.cat([extractor(part).float() for block in blocks for part in block.split(_BLOCK)])


def read_blocks(source: DataSource, indices: Tensor) -> Iterable[Tensor]:
    """Reads examples block by block, on the unit scale."""
    return (unit_scale(examples(source, part), source.value_range) for part in indices.split(_BLOCK))


def defaults(train: DataSource) -> list[str]:
    """Names two extractors of different making for data: the second is a classifier where there are labels to train one by."""
    labelled = train.labels is not None and len(train.labels[train.labels >= 0].unique()) > 1
    return ["pixels", "classifier" if labelled else "random"]


def named(text: str) -> tuple[str, str]:
    """Splits what names an extractor into the name and what stands behind it; `OwaeError` if there is none of that name."""
    name, _, rest = text.strip().replace(":", " ", 1).partition(" ") if text.startswith(WITH_PATH) else (text.strip(), "", "")
    if name not in NAMES and not name.lower().endswith(".npz"):
        raise OwaeError(f"--features '{text}': {suggestion(name, NAMES)}, or a .npz file of features")
    return name, rest


def extractor(text: str, train: DataSource) -> Extractor | FileFeatures:
    """Makes the extractor that a text names: `pixels`, `classifier`, `inception PATH`, `features.npz` and so on.

    Args:
        text: The name, and behind it a path where one is needed.
        train: The training examples, which decide the shape and which a classifier is trained on.

    Raises:
        OwaeError: There is none of that name, or it cannot be had; the message says what would work.
    """
    from owae_report.evaluation.classifier import Trained, Untrained
    from owae_report.evaluation.networks import dinov2, efficientnet, inception

    name, rest = named(text)
    shape = tuple(train.shape)
    makers: dict[str, Callable[[], Extractor]] = {
        "pixels": lambda: Pixels(shape),
        "classifier": lambda: Trained(train),
        "random": lambda: Untrained(shape),
        "efficientnet-lite0": lambda: efficientnet(shape),
        "inception": lambda: inception(shape, _path(name, rest)),
        "dinov2": lambda: dinov2(shape, _path(name, rest)),
    }
    return makers[name]() if name in makers else FileFeatures(expanded(name))


def _path(name: str, rest: str) -> Path:
    if not rest.strip():
        raise OwaeError(f"--features '{name}' needs the place of its weights behind the name, as '{name} PATH'")
    path = expanded(rest.strip())
    if not path.exists():
        raise DataError(f"--features '{name} {rest}': {path} does not exist; nothing is downloaded, so give a file that is there")
    return path
