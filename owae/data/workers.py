"""Reads examples in worker processes, in the order asked for; the batches are those of one process, to the bit.

They are started by "spawn", the only way that is safe beside threads and CUDA and there on every system. So a source is pickled
into them, and a program's own lines must stand under `if __name__ == "__main__":`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from owae.errors import STOP_SIGNALS, DataError
from owae.interfaces import DataSource

START_METHOD = "spawn"


class Workers:
    """Reads batches of a source in processes, started when first needed and kept until `close`.

    Args:
        source: What they read; under "spawn" and "forkserver" it is pickled.
        count: How many, at least 1.
        pinned: Hand batches over in pinned memory, for CUDA.
        start_method: "spawn" unless given; "forkserver", "fork".
    """

    def __init__(self, source: DataSource, count: int, *, pinned: bool = False, start_method: str = "") -> None:
        self.source, self.count, self.pinned = source, count, pinned
        self.start_method = start_method or START_METHOD
        self._chunks = _Chunks()
        self._loader: DataLoader | None = None
        self._batches: Any = None

    def read(self, chunks: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yields the source's batches at these indices, in order.

        Raises:
            DataError: What the source raises as such; it cannot be pickled; a worker died.
        """
        self._chunks.chunks = chunks
        if self._loader is None:
            self._loader = self._started()
        try:
            with _signals_blocked():
                self._batches = iter(self._loader)
            for batch in self._batches:
                if isinstance(batch, DataError):
                    raise DataError(*batch.args)
                yield batch
        except GeneratorExit:
            raise  # left in mid-epoch; the workers wait for the next one
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError) and "exited unexpectedly" in str(error):
                raise DataError(
                    f"a worker that reads examples died ({error}); it may have run out of memory: fewer workers, or "
                    "train.workers = 0, need less. A program that uses workers keeps its own lines under "
                    "`if __name__ == '__main__':`"
                ) from error
            raise

    def close(self) -> None:
        """Ends the processes, and waits until they have ended."""
        batches, self._batches, self._loader = self._batches, None, None
        if batches is not None:
            # torch ends them when its iterator is collected, which waits in vain if that happens along with their queues.
            batches._shutdown_workers()
            for worker in batches._workers:
                if worker.is_alive():
                    worker.kill()
                    worker.join()

    def _started(self) -> DataLoader:
        if self.start_method != "fork":
            _require_picklable(self.source)
        return DataLoader(
            _Batches(self.source),
            sampler=self._chunks,
            batch_size=None,  # the sampler's items are whole batches of indices
            num_workers=self.count,
            persistent_workers=True,
            pin_memory=self.pinned,
            multiprocessing_context=self.start_method,
            worker_init_fn=_ignore_first_signal,
            generator=torch.Generator(),  # its own, so that training draws the same numbers with workers and without
        )


class _Chunks(Sampler[list[int]]):
    """Yields the batches of indices to be read next, as numbers, since each tensor would travel in shared memory of its own."""

    def __init__(self) -> None:
        self.chunks: Sequence[Tensor] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return (chunk.tolist() for chunk in self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)


class _Batches(Dataset[Any]):
    def __init__(self, source: DataSource) -> None:
        self.source = source

    def __getitem__(self, index: list[int]) -> Any:
        try:
            return self.source.batch(torch.tensor(index))
        except DataError as error:
            return error  # raised, it would come over wrapped in the worker's traceback


def _require_picklable(source: DataSource) -> None:
    try:
        ForkingPickler.dumps(source)
    except Exception as error:  # pickling runs whatever the source's parts do
        raise DataError(
            f"data source {type(source).__name__} cannot be sent to workers: {error}; keep what cannot be pickled (open files, "
            "locks, lambdas) out of its attributes and make it when it is first used, or set train.workers = 0"
        ) from error


def _ignore_first_signal(_: int) -> None:
    """Lets a worker outlive the first signal: a terminal's or scheduler's reaches it too, and training ends it after its save."""
    for number in STOP_SIGNALS:
        signal.signal(number, _next_time if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _next_time(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Runs the block with signals blocked: processes started in it inherit that, and this one gets its signals at the end."""
    resource_tracker.ensure_running()  # else started within, and it lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
