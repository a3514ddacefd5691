"""Moves examples to a CUDA device as bytes: all of them once if they fit, else one batch ahead of training."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from owae.interfaces import DataSource

SHARE = 0.1  # of the device's free memory that examples may take to rest there
CHUNK = 8192  # examples moved at a time


class Resident(DataSource):
    """Holds a source's examples as one tensor on a device; indices are on that device too."""

    name = "resident"

    def __init__(self, source: DataSource, examples: Tensor, /) -> None:
        self.shape, self.value_range, self.labels = tuple(source.shape), source.value_range, source.labels
        self.class_names = source.class_names
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Tensor:
        return self.examples[index]

    def batch(self, indices: Tensor) -> Tensor:
        return self.examples.index_select(0, indices)


def resident(source: DataSource, device: torch.device, room: float | None = None) -> Resident | None:
    """Copies a source's examples to the device, if they fit and can be read many at once; returns None otherwise.

    Args:
        source: Where they are; one that reads example by example is not asked for all of them at once.
        device: Where they go.
        room: Bytes that they may take; by default a tenth of what is free on a CUDA device.
    """
    if type(source).batch is DataSource.batch:
        return None
    if room is None:
        room = SHARE * torch.cuda.mem_get_info(device)[0]
    first = source.batch(torch.arange(1))
    if first.nbytes * len(source) > room:
        return None
    held = torch.empty((len(source), *first.shape[1:]), dtype=first.dtype, device=device)
    for rows in torch.arange(len(source)).split(CHUNK):
        held[rows[0] : rows[-1] + 1] = source.batch(rows).to(device)
    return Resident(source, held)


def prefetched(batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yields the batches on a CUDA device, each read, pinned and copied while the one before it is used.

    A thread does so, on a stream of its own; an error of it is raised here. Leaving the iterator ends the thread.
    """
    ready: queue.Queue[tuple[Tensor, torch.cuda.Event] | BaseException | None] = queue.Queue(maxsize=1)
    left = threading.Event()
    stream = torch.cuda.Stream(device)

    def hand_over(item: tuple[Tensor, torch.cuda.Event] | BaseException | None) -> bool:
        while not left.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            with torch.cuda.device(device), torch.cuda.stream(stream):
                for batch in batches:
                    moved = batch.pin_memory().to(device, non_blocking=True)
                    copied = torch.cuda.Event()
                    copied.record(stream)
                    if not hand_over((moved, copied)):
                        return
            hand_over(None)
        except BaseException as error:  # whatever it is, it belongs to whoever waits
            hand_over(error)

    thread = threading.Thread(target=read, name="owae-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            batch, copied = item
            user = torch.cuda.current_stream(device)
            user.wait_event(copied)
            batch.record_stream(user)  # so that its memory is not handed to the next copy while it is still read
            yield batch
    finally:
        left.set()
        thread.join()
