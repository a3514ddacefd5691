"""Measures the cases, each divergence and backend in a process of its own."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from owae_bench.cases import Case

ENOUGH_SECONDS = 2.0  # after which a slow measurement is repeated no more, if there are three

log = logging.getLogger(__name__)


STARTED, CALLED, PAIR = (
    4.0,
    1e-3,
    2e-8,
)  # seconds on a desktop's CPU: a process with torch, a call, a pair of samples in 32 dimensions


def expected_seconds(count: int, sizes: Sequence[int], dims: Sequence[int], repeats: int) -> float:
    """Roughly how long so many cases take on a CPU that does nothing else, with what they compile in its cache."""
    calls = 2 * repeats + 8  # forward, forward and backward, the first ones, memory, errors
    seconds = 0.0
    for n in sizes:
        for d in dims:
            call = CALLED + PAIR * n**2 * (1 + d / 32)
            seconds += min(calls * call, 14 * call + 2 * ENOUGH_SECONDS)
    return count * (STARTED + seconds)


@dataclass(frozen=True)
class Row:
    """A measurement, or the reason why there is none.

    Attributes:
        case: What was measured.
        n: Samples on either side.
        d: Numbers in an event.
        result: What `measure` gives, empty where it failed.
        reason: Why it failed.
    """

    case: Case
    n: int
    d: int
    result: dict[str, Any]
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A flat record, for JSON and CSV."""
        named = {"divergence": self.case.name, "distribution": self.case.distribution, "backend": self.case.backend}
        options = {key: value for key, value in self.case.options.items() if key != "backend"}
        return named | {"options": options, "n": self.n, "d": self.d} | self.result | {"reason": self.reason}


def run(cases: Iterable[Case], sizes: Sequence[int], dims: Sequence[int], *, limit: float, **settings: Any) -> Iterator[Row]:
    """Measure all cases at all sizes and dimensions, one row at a time.

    Args:
        cases: The divergences with their options.
        sizes: Numbers of samples.
        dims: Numbers in an event.
        limit: Seconds after which one measurement is given up.
        settings: `device`, `repeats`, `against`, for `measure`.
    """
    for case in cases:
        asked = {key: getattr(case, key) for key in ("distribution", "plugin", "name", "options", "reference")} | settings
        log.info("%s: compiling and measuring", case.label)
        with Worker() as worker:
            for d in dims:
                for n in sizes:
                    answer = {"reason": case.flaw} if case.flaw else worker.ask(asked | {"n": n, "d": d}, limit)
                    reason = answer.pop("reason", "")
                    yield Row(case, n, d, answer, reason)


class Worker:
    """A process that measures; it is started when first asked, and again after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The answer to a request, or the `reason` why there is none."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), process.kill()))
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:  # it died before it could read
            line = ""
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        code = process.wait()
        self.stop()
        return {"reason": f"stopped after {limit:g} s" if late.is_set() else _cause_of_end(code)}

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "owae_bench.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )


def _cause_of_end(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"its process was ended by {name}" + (" (out of memory, most likely)" if name == "SIGKILL" else "")
