"""Starts `owae train` for real, on the tiny stack, and waits for what it writes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tiny

from owae.run import checkpoint

OWAE = (sys.executable, "-m", "owae")


class Forked:
    """A process with a session of its own, forked from one that has imported what training needs, which takes longest of a start.

    Its output goes to files. The rest is as of a `subprocess.Popen`.
    """

    def __init__(self, folder: Path, run: Callable[..., object], *arguments: str, **environment: str) -> None:
        self._output = [Path(tempfile.mkstemp(prefix=f".{name}-", dir=folder)[1]) for name in ("out", "err")]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["lightning_fabric", "owae.run.train"])
        # A daemon, so that what a failed test leaves behind ends with the tests.
        self._process = context.Process(target=_prepared, args=(self._output, environment, run, arguments), daemon=True)
        self._process.start()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def communicate(self, timeout: float) -> tuple[str, str]:
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        out, err = (path.read_text() for path in self._output)
        return out, err

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it has not ended: others may have stopped it meanwhile."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _prepared(output: Sequence[Path], environment: dict[str, str], run: Callable[..., object], arguments: Sequence[str]) -> None:
    os.setsid()
    for number, path in enumerate(output, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_TRUNC), number)
    os.environ |= environment
    multiprocessing.process.current_process()._config["daemon"] = False  # pyright: ignore # it may start processes
    run(*arguments)


def owae(*arguments: str) -> None:
    """Runs the command line as `python -m owae` does."""
    sys.argv = ["owae", *arguments]
    runpy.run_module("owae", run_name="__main__", alter_sys=True)


Process = subprocess.Popen[str] | Forked


def start(folder: Path, *arguments: str, launcher: Sequence[str] | None = None, **environment: str) -> Process:
    """Starts `owae train` on the tiny stack in a folder: forked, or by a command line as `OWAE`."""
    path = folder / "tiny.toml"
    if not path.exists():
        tiny.config(folder, epochs=100_000, checkpoint_every=1)
    arguments = ("train", str(path), "--out", str(folder / "run"), *arguments)
    environment = {"OMP_NUM_THREADS": "1", "OWAE_PLUGINS": "owae-layers,owae-mmd,owae-data", **environment}
    if launcher is None:
        return Forked(folder, owae, *arguments, **environment)
    return subprocess.Popen(
        [*launcher, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody who asks for any: it is free until it is used."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_for_checkpoint(folder: Path, process: Process, after: int = 0) -> int:
    """The step of the newest checkpoint, once there is one beyond `after`."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        steps = [int(path.stem.removeprefix("step-")) for path in checkpoint.paths(folder / "run" / "checkpoints")]
        if steps and steps[0] > after:
            return steps[0]
        assert process.poll() is None, process.communicate(timeout=900)
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


def training(folder: Path) -> list[int]:
    """The processes that train in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:  # gone meanwhile
            continue
        if "train" in words and str(folder / "run") in words:
            found.append(int(path.parent.name))
    return found


def wait_until_gone(folder: Path) -> None:
    """Until no process trains in a folder."""
    deadline = time.monotonic() + 900
    while left := training(folder):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)
