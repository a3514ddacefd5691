"""Measures the cases, each divergence and backend in a process of its own, forked from one that has imported what all need."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from owae_bench.cases import Case

ENOUGH_SECONDS = 0.3  # a call that has taken so long altogether is repeated no more

log = logging.getLogger(__name__)


# Seconds on one core: a process with torch, a fork of it, a call, and what a pair of samples adds for a quarter each of the divergences.
STARTED, FORKED, CALLED, PAIRS = 4.0, 0.1, 1e-3, (5e-7, 1.6e-7, 2e-8, 2e-9)


def expected_seconds(count: int, sizes: Sequence[int], dims: Sequence[int], repeats: int) -> float:
    """Roughly how long so many cases take on a CPU that does nothing else, with what they compile in its cache."""
    each = 0.0
    for n, d, pair in itertools.product(sizes, dims, PAIRS):
        call = CALLED + pair * n**2 * (1 + d / 64)
        repeated = min(repeats * call, max(ENOUGH_SECONDS, call))
        each += (4 * call + 2 * repeated) / len(PAIRS)  # forward and both; the first of each, memory, float64
    return STARTED + count * (FORKED + each)


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
    with tempfile.TemporaryDirectory() as shared, Worker() as worker:
        for case in cases:
            asked = {key: getattr(case, key) for key in ("distribution", "plugin", "name", "options", "reference")} | settings
            asked["shared"] = shared
            log.info("%s: compiling and measuring", case.label)
            for d in dims:
                for n in sizes:
                    answer = {"reason": case.flaw} if case.flaw else worker.ask(asked | {"n": n, "d": d}, limit)
                    reason = answer.pop("reason", "")
                    yield Row(case, n, d, answer, reason)
            worker.end_case()


class Worker:
    """A process that measures cases, each in a fork of its own where it can.

    It is started when first asked, and again after it has died.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._measuring: dict[str, Any] | None = None  # what measures the present case: its process id, and whether it is a fork

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The answer to a request, or the `reason` why there is none."""
        late = threading.Event()
        try:
            measuring = self._measuring = self._measuring or self._begin()
            timer = threading.Timer(limit, lambda: (late.set(), _kill(measuring["pid"])))
            timer.start()
            try:
                answer = self._exchange(json.dumps(request))
            finally:
                timer.cancel()
            if "ended" not in answer:
                return answer
            self._measuring, code = None, answer["ended"]
        except EOFError:  # the process itself has ended
            assert self._process is not None
            code = self._process.wait()
            self.stop()
        return {"reason": f"stopped after {limit:g} s" if late.is_set() else _cause_of_end(code)}

    def end_case(self) -> None:
        """Let what measured the present case go, so that the next one begins anew."""
        measuring, self._measuring = self._measuring, None
        if measuring is not None and measuring["forked"]:
            try:
                self._exchange("")  # its end
            except EOFError:
                self.stop()
        elif measuring is not None:
            self.stop()

    def stop(self) -> None:
        """End the processes, if there are any."""
        process, self._process = self._process, None
        measuring, self._measuring = self._measuring, None
        if process is not None:
            if measuring is not None and measuring["forked"]:
                _kill(measuring["pid"])
            process.kill()
            process.communicate()

    def _begin(self) -> dict[str, Any]:
        """Begins a case."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "owae_bench.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        return self._exchange("case")

    def _exchange(self, line: str) -> dict[str, Any]:
        """The answer to a line; `EOFError` if none comes."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            answer = self._process.stdout.readline()
        except OSError:  # it died before it could read
            answer = b""
        if not answer.endswith(b"\n"):
            raise EOFError
        return json.loads(answer)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _cause_of_end(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"its process was ended by {name}" + (" (out of memory, most likely)" if name == "SIGKILL" else "")
