"""Handles signals: they ask training to save and stop after the step under way, and SIGINT or SIGTERM again to stop at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from owae.errors import STOP_SIGNALS


class Interrupts:
    """Runs the block with signals noted in `received` instead of acting; SIGINT or SIGTERM again ends the process (128 + its number).

    Others do not insist: a scheduler's warning is followed by a SIGTERM, and a terminal that closes may send SIGHUP twice.
    A signal that the process was started to ignore stays ignored, as `nohup` and a shell's `&` in a script ask for.
    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Notes a signal; ends the process where a user or a scheduler insists."""
        if number in (signal.SIGINT, signal.SIGTERM):
            if self._asked:
                # Whatever the process is doing (a save, a stuck kernel), it was asked twice; finished checkpoints are safe on disk.
                os._exit(128 + number)
            self._asked = True
        self.received = self.received or number
