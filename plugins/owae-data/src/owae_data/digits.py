"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels, always at hand."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from owae_data.base import StoredSource, ValueRange, quiet
from owae_data.splits import held_out


class Digits(StoredSource):
    """The test split of the UCI optical digits (Alpaydin and Kaynak, 1998) as scikit-learn ships it, (1, 8, 8).

    The 17 grey levels 0…16 become the nearest of 0…255, off by at most 0.2% of the range. A fifth of each class is for testing.

    Args:
        value_range: What white paper and full ink stand for.
    """

    name = "digits"

    def __init__(self, split: Literal["train", "test"], /, *, value_range: ValueRange = (0.0, 1.0)) -> None:
        images, labels = _digits()
        rows = held_out(len(images), 0.2, labels)[split]
        super().__init__(images[rows], labels=labels[rows], value_range=value_range)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    with quiet():
        from sklearn.datasets import load_digits

        data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)  # pyright: ignore[reportAttributeAccessIssue] # a Bunch
    return torch.from_numpy(images)[:, None], torch.from_numpy(data.target).long()  # pyright: ignore[reportAttributeAccessIssue] # a Bunch
