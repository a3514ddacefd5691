"""Reads examples in worker processes, in the order asked for; the batches are those of one process, to the bit.

They are torch's DataLoader's, started by "spawn": the only way that is safe beside threads and CUDA and there on every system. So a
source is pickled into them, and a program's own lines must stand under `if __name__ == "__main__":`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from owae.data.sources import read
from owae.errors import DataError, OwaeError
from owae.interfaces import DataSource

START_METHOD = "spawn"

_MAIN = (
    "a class under `__main__` reaches them only if they can import it: keep it in a module, or in a script whose own lines stand "
    "under `if __name__ == '__main__':`"
)
_NONE = "or set train.workers = 0"


class Workers:
    """Reads batches of a source in `count` processes, which are started when first needed and kept until `close`.

    The source is pickled into them. Batches come in pinned memory where `pinned`, for CUDA.
    """

    def __init__(self, source: DataSource, count: int, *, pinned: bool = False) -> None:
        self.source, self.count, self.pinned, self.start_method = source, count, pinned, START_METHOD
        # What is to be read next, indices as numbers, since each tensor would travel in shared memory of its own.
        self._chunks: list[tuple[list[int], tuple[int, ...]]] = []
        self._loader: DataLoader | None = None
        self._batches: Any = None

    def read(self, chunks: Sequence[Tensor], *key: int) -> Iterator[Tensor]:
        """Yields the source's batches at these indices, in order, as `owae.data.sources.read` does.

        Raises:
            DataError: What the source raises as such; it cannot be sent to workers; one died.
        """
        self._chunks[:] = [(chunk.tolist(), key) for chunk in chunks]
        if self._loader is None:
            if self.start_method != "fork":
                self._require_sendable()
            self._loader = DataLoader(
                _Batches(self.source),
                sampler=self._chunks,
                batch_size=None,  # the sampler's items are whole batches of indices
                num_workers=self.count,
                persistent_workers=True,
                pin_memory=self.pinned,
                multiprocessing_context=self.start_method,
                worker_init_fn=_end_with_the_parent,
                generator=torch.Generator(),  # its own, so that training draws the same numbers with workers and without
            )
        try:
            with _signals_blocked():
                self._batches = iter(self._loader)
            for batch in self._batches:
                if isinstance(batch, OwaeError):
                    raise type(batch)(*batch.args)
                yield batch
        except GeneratorExit:
            raise  # left in mid-epoch; the workers wait for the next one
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):
                raise DataError(f"a worker that reads examples died ({error}); {_advice(str(error))}, {_NONE}") from error
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

    def _require_sendable(self) -> None:
        what = f"data source {type(self.source).__name__} cannot be sent to workers"
        try:
            of_main = b"__main__" in bytes(ForkingPickler.dumps(self.source))
        except Exception as error:  # pickling runs whatever the source's parts do
            raise DataError(
                f"{what}: {error}; keep what cannot be pickled (open files, locks, lambdas) out of its attributes and make it when it "
                f"is first used, {_NONE}"
            ) from error
        if of_main and not hasattr(sys.modules["__main__"], "__file__"):
            raise DataError(f"{what}: {_MAIN}, {_NONE}")


def _end_with_the_parent(_: int) -> None:
    """Ends this worker as soon as the process that started it is gone: torch's own watch misses one that was killed before."""
    parent = multiprocessing.parent_process()

    def end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _advice(death: str) -> str:
    killed = "killed by signal: Killed" in death
    return "memory may have run out: use fewer workers" if killed else f"its own message says why; {_MAIN}"


class _Batches(Dataset[Any]):
    def __init__(self, source: DataSource) -> None:
        self.source = source

    def __getitem__(self, chunk: tuple[list[int], tuple[int, ...]]) -> Any:
        indices, key = chunk
        try:
            return read(self.source, torch.tensor(indices), *key)
        except OwaeError as error:
            return error  # raised, it would come over wrapped in the worker's traceback


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Runs the block with all signals blocked: this process gets its own afterwards, processes started in it never.

    A terminal's and a scheduler's signals reach a whole group, and training, which ends its workers itself, saves before it does so.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else started within, and it lifts the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGCHLD, signal.SIGSEGV, signal.SIGBUS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
