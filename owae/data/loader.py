"""Makes batches of a source: in an order that depends on the seed and the epoch alone, as floats on the device.

The order of an epoch is a fresh permutation drawn from (seed, epoch) alone, so a place in training is two numbers, and an
interrupted run goes on exactly where it stopped, whoever reads the examples: this process, a thread of it, or workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor

from owae.data.prefetch import prefetched, resident
from owae.data.sources import as_floats, examples
from owae.data.workers import Workers
from owae.errors import DataError
from owae.interfaces import DataSource

logger = logging.getLogger(__name__)

SLOW = 0.1  # share of the time from batch to batch; beyond it an epoch that waited for one-by-one reading is told of workers


class Loader:
    """Yields shuffled batches of a source, epoch by epoch.

    Sources at rest in memory, or mapped from a file, are gathered from as bytes. On a CPU that takes microseconds and no thread. For
    CUDA, what fits moves to the device once, as bytes, and is gathered there; the rest is gathered by a thread, one batch ahead, into
    pinned memory. With `workers`, processes read instead: for sources that decode example by example.

    Args:
        source: Where examples come from; at least two.
        batch_size: Rows in a batch, at least 2; the last batch of an epoch is smaller, and left out if it would be a single row.
        seed: With the epoch's number, decides the order.
        device: Where batches are wanted.
        workers: Processes that read, kept over epochs; 0 for none. Batches are the same to the bit.
        rank: Which of several training processes this is; it is given its own rows of every batch, as `Tensor.tensor_split` deals them.
        ranks: How many there are.

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
    ) -> None:
        if batch_size < 2:
            raise DataError(f"batch_size is {batch_size}; batch norm and an unbiased divergence need at least 2 rows")
        if len(source) < 2:
            raise DataError(f"found {len(source)} example to train on; at least 2 are needed")
        if workers < 0:
            raise DataError(f"workers is {workers}; 0 or more would work")
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, torch.device(device)
        self.rank, self.ranks = rank, ranks
        self.workers = Workers(source, workers, pinned=self.device.type == "cuda") if workers else None
        self.waited = 0.0
        self._resident: DataSource | None = None
        self._said = False
        whole, rest = divmod(len(source), batch_size)
        self.batches = whole + (rest > 1)
        if rest == 1:
            logger.info("%d examples in batches of %d leave one over, which an epoch leaves out", len(source), batch_size)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.batches

    def rows(self, batch: int) -> int:
        """Returns the number of rows of a batch (counted from 0 in its epoch), those of all processes."""
        return min(self.batch_size, len(self.source) - batch * self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """Returns the indices of an epoch (counted from 1) in its order, (N,)."""
        # torch seeds its CPU generator with 32 bits, so the pair is mixed down to them.
        (mixed,) = np.random.SeedSequence([self.seed, epoch]).generate_state(1)
        return torch.randperm(len(self.source), generator=torch.Generator().manual_seed(int(mixed)))

    def epoch(self, epoch: int, start: int = 0) -> Generator[Tensor, None, None]:
        """Yields the batches of an epoch (counted from 1), from batch `start` on.

        Raises:
            DataError: The source cannot be sent to a worker, or a worker died.
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
        self._tell_if_slow(waited, time.perf_counter() - begun, taken)

    def close(self) -> None:
        """Ends the workers, if there are any; the next epoch starts them anew."""
        if self.workers is not None:
            self.workers.close()

    def _read(self, epoch: int, start: int) -> Iterator[Tensor]:
        order, value_range = self.order(epoch), self.source.value_range
        chunks = self._own(order, start)
        # A last batch of fewer rows than processes leaves this one none; no source is asked for nothing.
        nothing = bool(chunks) and not len(chunks[-1])
        chunks = chunks[: len(chunks) - nothing]
        if self.workers is not None:
            for batch in self.workers.read(chunks):
                yield as_floats(batch.to(self.device, non_blocking=True), value_range)
        elif self.device.type != "cuda":
            for chunk in chunks:
                yield examples(self.source, chunk, self.device)
        else:
            if self._resident is None:
                self._resident = resident(self.source, self.device) or self.source
            if self._resident is not self.source:
                on_device = order.pin_memory().to(self.device, non_blocking=True)
                for chunk in self._own(on_device, start)[: len(chunks)]:
                    yield as_floats(self._resident.batch(chunk), value_range)
            else:
                for batch in prefetched(map(self.source.batch, chunks), self.device):
                    yield as_floats(batch, value_range)
        if nothing:
            yield examples(self.source, torch.arange(1), self.device)[:0]

    def _own(self, order: Tensor, start: int) -> list[Tensor]:
        """Returns this process's rows of each batch of an epoch, from batch `start` on."""
        batches = order.split(self.batch_size)[start : self.batches]
        return [batch.tensor_split(self.ranks)[self.rank] for batch in batches]

    def _tell_if_slow(self, waited: float, whole: float, taken: int) -> None:
        alone = self.workers is None and type(self.source).batch is DataSource.batch
        if alone and not self._said and taken > 1 and waited > SLOW * whole:
            self._said = True
            share = waited / whole
            logger.info("%.0f%% of an epoch was spent reading examples one by one; train.workers = 2 would read ahead", 100 * share)
