"""Signals that the tests were started to ignore: what they start must not inherit that."""

from __future__ import annotations

import signal

from owae.errors import STOP_SIGNALS


def unignore() -> None:
    """Takes ignored signals by a function that does nothing: this process goes on to ignore them, processes that it starts do not.

    A shell starts a job in the background of a script with SIGINT ignored, `nohup` with SIGHUP; a training that inherits that goes on
    when a test interrupts it.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
