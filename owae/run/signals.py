"""Handles signals: they ask training to save and stop after the step under way, and SIGINT or SIGTERM again to stop at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# From a terminal, a scheduler that will end the job (SLURM's --signal=USR1), or a connection that is gone; Windows has the first two.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class Interrupts:
    """Runs the block with signals noted in `received` instead of acting; a second one ends the process (128 + its number).

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            # Whatever the process is doing (a save, a stuck kernel), it was asked twice; finished checkpoints are safe on disk.
            os._exit(128 + number)
        self.received = number
