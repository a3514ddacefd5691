"""Makes batches of a source: in an order that depends on the seed and the epoch alone, as floats on the device.

So a place in training is two numbers, and an interrupted run goes on exactly where it stopped, whoever reads the examples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor

from owae.data.sources import TensorSource, as_floats, check_scale, original, read, reads_singly
from owae.data.workers import Workers
from owae.errors import DataError
from owae.interfaces import DataSource
from owae.tensor_checks import Range

logger = logging.getLogger(__name__)

SLOW = 0.1  # share of the time from batch to batch; beyond it an epoch that waited for reading is told of workers
SHARE = 0.1  # of a CUDA device's free memory that examples may take to rest there
_CHUNK = 8192  # examples moved there at a time


class Loader:
    """Yields shuffled batches of a source, epoch by epoch.

    Sources in memory, or mapped from a file, are indexed as bytes. For CUDA, what fits moves to the device once, as bytes, and is indexed
    there; the rest goes through pinned memory. With `workers`, processes read ahead: for sources that decode example by example.

    Args:
        source: Where examples come from; at least two.
        batch_size: Rows in a batch, at least 2; the last batch of an epoch is smaller, and left out if it would be a single row.
        seed: With the epoch's number, decides the order, and what a source draws.
        device: Where batches are wanted.
        workers: Processes that read, kept over epochs; 0 for none. Batches are the same to the bit.
        rank: Which of several training processes this is; it is given its own rows of every batch, as `Tensor.tensor_split` deals them.
        ranks: How many there are.
        dtype: Of the floats.
        bounds: What the bottom decoder can reach, or None for everything; the first batch is held against it.

    Attributes:
        waited: Seconds that whoever iterates has waited for batches so far.

    Raises:
        DataError: Fewer than two examples, or batches of one.
    """

    def __init__(
        self,
        source: DataSource,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 0,
        *,
        rank: int = 0,
        ranks: int = 1,
        dtype: torch.dtype = torch.float32,
        bounds: Range | None = None,
    ) -> None:
        if batch_size < 2:
            raise DataError(f"batch_size is {batch_size}; batch norm and an unbiased divergence need at least 2 rows")
        if len(source) < 2:
            raise DataError(f"found {len(source)} example to train on; at least 2 are needed")
        if workers < 0:
            raise DataError(f"workers is {workers}; 0 or more would work")
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, torch.device(device)
        self.count = len(source)
        self._origin = original(source, torch.arange(0))[0]
        self.rank, self.ranks, self.dtype, self.bounds = rank, ranks, dtype, bounds
        self.workers = Workers(source, workers, pinned=self.device.type == "cuda") if workers else None
        self.waited = 0.0
        self._resident: TensorSource | None = None
        self._said = self._told = False
        self._known: tuple[Tensor, Tensor] | None = None  # two examples, as they were when first read, and their indices
        if len(source) % batch_size == 1:
            logger.info("%d examples in batches of %d leave one over, which an epoch leaves out", len(source), batch_size)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 1)

    def rows(self, batch: int) -> int:
        """Returns the number of rows of a batch (counted from 0 in its epoch) of all processes."""
        return min(self.batch_size, len(self.source) - batch * self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """Returns the indices of an epoch (counted from 1) in its order, (N,)."""
        # torch seeds its CPU generator with 32 bits, so the pair is mixed down to them.
        (mixed,) = np.random.SeedSequence([self.seed, epoch]).generate_state(1)
        return torch.randperm(len(self.source), generator=torch.Generator().manual_seed(int(mixed)))

    def indices(self, epoch: int, batch: int) -> Tensor:
        """Returns which examples this process's rows of a batch (counted from 0) are, as the data count them."""
        return original(self.source, self._own(self.order(epoch), batch)[0])[1]

    def epoch(self, epoch: int, start: int = 0) -> Generator[Tensor, None, None]:
        """Yields the batches of an epoch (counted from 1), from batch `start` on.

        Raises:
            DataError: The examples are not what they should be, the source cannot be sent to a worker, or a worker died.
        """
        batches = self._read(epoch, start)
        begun, waited, taken = time.perf_counter(), 0.0, 0
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - asked
            if batch is None:
                break
            taken += 1
            yield batch
        self.waited += waited
        share = waited / (time.perf_counter() - begun)
        if share > SLOW and taken > 1 and self.workers is None and reads_singly(self.source) and not self._said:
            self._said = True
            logger.info("%.0f%% of an epoch was spent reading examples one by one; train.workers = 2 would read ahead", 100 * share)

    def close(self) -> None:
        """Ends the workers, if there are any; the next epoch starts them anew."""
        if self.workers is not None:
            self.workers.close()

    def _read(self, epoch: int, start: int) -> Iterator[Tensor]:
        if len(self.source) != self.count:
            cls = type(self._origin).__name__
            raise DataError(
                f"{cls} had {self.count} examples when training began and has {len(self.source)} at epoch {epoch}; a source whose "
                "length stays would work"
            )
        order, on_cuda = self.order(epoch), self.device.type == "cuda"
        if on_cuda and self.workers is None:
            self._resident = self._resident or resident(self.source, self.device)
        if self._resident is not None:
            order = order.pin_memory().to(self.device, non_blocking=True)
        chunks = self._own(order, start)
        # A last batch of fewer rows than processes leaves this one none; no source is asked for nothing.
        asked = [chunk if len(chunk) else order[:1] for chunk in chunks]
        source, key = self._resident or self.source, (self.seed, epoch)
        augmented = type(self._origin).augment is not DataSource.augment
        stored = self.workers.read(asked, *key) if self.workers else (read(source, chunk, *key) for chunk in asked)
        for number, (chunk, batch) in enumerate(zip(chunks, stored, strict=True)):
            if on_cuda and batch.device.type == "cpu" and not self.workers:
                batch = batch.pin_memory()
            x = as_floats(batch.to(self.device, non_blocking=True), source.value_range, self.dtype)[: len(chunk)]
            if augmented and len(x):
                x = self._origin.augment(x, original(self.source, chunk.cpu())[1], *key)
            if not number:
                self._look(x, chunk.cpu(), epoch)
            yield x

    def _look(self, batch: Tensor, chunk: Tensor, epoch: int) -> None:
        """Checks an epoch's first batch against what the decoder can reach, or else what the source promises, if it is no bare tensor.

        Two examples are read again and held against what they were when first read.
        """
        source, indices = original(self.source, chunk)
        cls = type(source).__name__
        if self.bounds is not None:
            check_scale(cls, batch, self.bounds, indices)
        elif not isinstance(source, TensorSource):
            check_scale(cls, batch, source.value_range, indices, "its value_range")
        begins = self._known is None
        if isinstance(source, TensorSource) or self._told or (begins and not len(indices)):
            return
        self._known = self._known or (read(source, indices[:2], self.seed).nan_to_num(), indices[:2])
        first, rows = self._known
        if torch.equal(first, read(source, rows, self.seed).nan_to_num()):
            return
        self._told = True
        if begins:
            logger.warning(
                "data source %s gives example %d otherwise when it is read again: it draws from a generator of its own, which the seed "
                "does not reach, so two runs differ; draws of torch, numpy.random and random are seeded",
                *(cls, int(rows[0])),
            )
        else:
            text = "data source %s gives example %d otherwise at epoch %d than when training began: its data have changed"
            logger.warning(text, cls, int(rows[0]), epoch)

    def _own(self, order: Tensor, start: int) -> list[Tensor]:
        """Returns this process's rows of each batch of an epoch, from batch `start` on."""
        batches = order.split(self.batch_size)[start : len(self)]
        return [batch.tensor_split(self.ranks)[self.rank] for batch in batches]


def resident(source: DataSource, device: torch.device, room: float | None = None) -> TensorSource | None:
    """Copies a source's examples to the device, if they fit and are always the same; returns None otherwise.

    They may take `room` bytes: by default a tenth of what is free on a CUDA device. Sources that read example by example stay.
    """
    if reads_singly(source):
        return None
    if room is None:
        room = SHARE * torch.cuda.mem_get_info(device)[0]
    rows = torch.arange(len(source))
    first, again = (read(source, rows[:32], key) for key in (0, 1))
    if first[:1].nbytes * len(source) > room or not torch.equal(first, again):
        return None
    held = torch.empty((len(source), *first.shape[1:]), dtype=first.dtype, device=device)
    for chunk in rows.split(_CHUNK):
        held[chunk[0] : chunk[-1] + 1] = read(source, chunk).to(device)
    return TensorSource(held, None, source.value_range)
