"""Keeps stdout for results."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Runs the block with stdout going to stderr, for Python and for what libraries in C++ print.

    For code that is not ours, such as a plugin's: stdout belongs to the result of a command.
    """
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
