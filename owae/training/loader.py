"""From a source to batches: in an order that depends only on the seed and the epoch, as floats on the device.

The order of an epoch is a fresh permutation drawn from (seed, epoch) alone, so a place in training is two numbers, and an
interrupted run goes on exactly where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from owae.errors import DataError
from owae.interfaces import DataSource

logger = logging.getLogger(__name__)


class TensorSource(DataSource):
    """Examples held in one tensor, (N, *shape): float, or uint8 meaning 0…255 mapped onto `value_range`."""

    name = "tensor"

    def __init__(self, examples: Tensor, labels: Tensor | None = None, value_range: tuple[float, float] = (0.0, 1.0), /) -> None:
        if examples.ndim < 2 or not len(examples):
            raise DataError(f"found a tensor of shape {tuple(examples.shape)}; examples are (N, *shape) with N at least 1")
        if examples.dtype != torch.uint8 and not examples.is_floating_point():
            raise DataError(f"found examples of dtype {examples.dtype}; float or uint8 would work")
        if labels is not None and labels.shape != examples.shape[:1]:
            raise DataError(
                f"found labels of shape {tuple(labels.shape)} for {len(examples)} examples; ({len(examples)},) would work"
            )
        self.examples = examples
        self.labels = labels
        self.value_range = value_range
        self.shape = tuple(examples.shape[1:])

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Tensor:
        return self.examples[index]

    def batch(self, indices: Tensor) -> Tensor:
        return self.examples[indices]


def as_source(data: DataSource | Tensor) -> DataSource:
    """The data themselves if they are a source; a tensor (N, *shape) as one."""
    return TensorSource(data) if isinstance(data, Tensor) else data


def examples(source: DataSource, indices: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
    """Examples of a source as floats on a device, (B, *shape), bytes mapped onto its value range; all of them unless indexed."""
    batch = source.batch(torch.arange(len(source)) if indices is None else indices)
    batch = batch.to(device, non_blocking=True)
    if batch.dtype == torch.uint8:
        low, high = source.value_range
        batch = batch.to(torch.float32).mul_((high - low) / 255)
        return batch.add_(low) if low else batch
    return batch if batch.is_floating_point() else batch.float()


class Loader:
    """Shuffled batches of a source, epoch by epoch.

    Args:
        source: Where examples come from; at least two.
        batch_size: Rows in a batch, at least 2; the last batch of an epoch is smaller, and left out if it would be a single row.
        seed: With the epoch's number, decides the order.

    Raises:
        DataError: Fewer than two examples, or batches of one.
    """

    def __init__(self, source: DataSource, batch_size: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        if batch_size < 2:
            raise DataError(f"batch_size is {batch_size}; batch norm and an unbiased divergence need at least 2 rows")
        if len(source) < 2:
            raise DataError(f"found {len(source)} example to train on; at least 2 are needed")
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, device
        whole, rest = divmod(len(source), batch_size)
        self.batches = whole + (rest > 1)
        if rest == 1:
            logger.info("%d examples in batches of %d leave one over, which an epoch leaves out", len(source), batch_size)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """The batches of an epoch (counted from 1), from batch `start` on."""
        # torch seeds its CPU generator with 32 bits, so the pair is mixed down to them.
        (mixed,) = np.random.SeedSequence([self.seed, epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(mixed))
        order = torch.randperm(len(self.source), generator=generator)
        for chunk in order.split(self.batch_size)[start : self.batches]:
            yield examples(self.source, chunk, self.device)
