"""The process that measures: requests on stdin, one JSON object a line; answers on stdout likewise, and nothing else there.

A line `case` begins a case and is answered by the process id that measures it. Torch and the plugins are imported once, in seconds; a
case gets a fork of the process that has done so, in milliseconds. Nothing has been computed in that process: pools of threads, KeOps
and compilers start in the forks and are nobody else's. Where forks are not safe, for a plugin starts threads when it is imported, or
are not to be had, the case is measured in this process itself, which is then not asked for another.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from owae.streams import quiet_stdout

_TASKS = Path("/proc/self/task")


def main() -> None:
    # Unbuffered: what follows a line is for the process that reads next.
    requests, answers = os.fdopen(0, "rb", buffering=0, closefd=False), os.fdopen(os.dup(1), "wb", buffering=0)
    try:
        with quiet_stdout():
            registry, safe = _imported()
            gc.freeze()  # what is imported stays: collecting garbage before a peak is measured would take a quarter of a second
            while requests.readline():
                child = _fork() if safe else 0
                if child == 0:
                    _say(answers, {"pid": os.getpid(), "forked": safe})
                    _serve(registry, requests, answers)
                    os._exit(0)  # taking torch down in order takes a second
                _, status = os.waitpid(child, 0)
                _say(answers, {"ended": os.waitstatus_to_exitcode(status)})
    except (KeyboardInterrupt, BrokenPipeError):  # whoever asked tells of it
        os._exit(130)


def _imported() -> tuple[Any, bool]:
    """The registry, and whether this process may be forked."""
    import numpy  # noqa: F401 # numpy's and scipy's threads know of forks: they are counted before the plugins are imported
    import torch  # noqa: F401

    with contextlib.suppress(ImportError):
        import scipy.linalg  # noqa: F401
    before = _threads()
    import owae_bench.measure  # noqa: F401
    from owae.registry.registry import Registry

    registry = Registry.discover()
    return registry, sys.platform == "linux" and _threads() == before


def _threads() -> int:
    return len(list(_TASKS.iterdir())) if _TASKS.is_dir() else threading.active_count()


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python counts the threads that know of forks, too
        return os.fork()


def _serve(registry: Any, requests: BinaryIO, answers: BinaryIO) -> None:
    """Measures what is asked for, up to an empty line."""
    while (line := requests.readline()).strip():
        _say(answers, _answer(registry, json.loads(line)))


def _say(answers: BinaryIO, record: dict[str, Any]) -> None:
    answers.write(json.dumps(record).encode() + b"\n")


def _answer(registry: Any, request: dict[str, Any]) -> dict[str, Any]:
    from owae_bench.measure import measure

    try:
        return measure(registry, request)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a third party's code does, the next size has its turn
        lines = str(error).strip().splitlines()
        return {"reason": f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"}


if __name__ == "__main__":
    main()
