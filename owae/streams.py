"""Keeps stdout for results, and replaces standard streams that are closed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def open_closed_streams() -> None:
    """Puts the null device in the place of standard streams that were closed when the program was started.

    Else the next file that is opened takes their number, and whatever a library prints is written into it. Writing to a closed stdout
    still fails, for results must not be lost in silence; what goes to a closed stderr is dropped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def on_terminal() -> bool:
    """Tells whether stderr can show a moving bar."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Runs the block with stdout going to stderr, for Python and for what C++ libraries print: stdout is for a command's result."""
    if sys.stdout is not None:
        sys.stdout.flush()  # what is still in Python's buffer was printed before
    kept = None
    with contextlib.suppress(OSError):  # one of the two is closed
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
