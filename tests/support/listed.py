"""Sources that worker processes can import, which they could not from a test's own module."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import torch
from torch import Tensor

from owae.errors import DataError
from owae.interfaces import DataSource


class OneByOne(DataSource):
    """A stranger's source: no `batch` of its own, bytes within [-1, 1], and faults where asked for."""

    name = "one-by-one"
    value_range = (-1.0, 1.0)

    def __init__(self, count: int = 37, fault: str = "", pause: float = 0.0) -> None:
        self.shape, self.count, self.fault, self.pause = (3, 4, 4), count, fault, pause

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < self.count:
            raise IndexError(index)
        time.sleep(self.pause)
        if self.fault == "data":
            raise DataError("picture 3 cannot be read")
        if self.fault == "bug":
            raise ZeroDivisionError("a bug")
        if self.fault == "death":
            os._exit(9)
        return torch.full(self.shape, index, dtype=torch.uint8)


class Restless(OneByOne):
    """Reads many at once, and others each time."""

    def batch(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(np.random.randint(0, 256, (len(indices), *self.shape), dtype=np.uint8))


class Locked(OneByOne):
    """What no pickle takes."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
