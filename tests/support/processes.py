"""Starts `owae train` for real, on the tiny stack, and waits for what it writes."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import tiny

from owae.run import checkpoint

OWAE = (sys.executable, "-m", "owae")


def start(folder: Path, *arguments: str, launcher: Sequence[str] = OWAE, **environment: str) -> subprocess.Popen[str]:
    path = folder / "tiny.toml"
    if not path.exists():
        tiny.config(folder, epochs=100_000, checkpoint_every=1)
    return subprocess.Popen(
        [*launcher, "train", str(path), "--out", str(folder / "run"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OWAE_PLUGINS": "owae-layers,owae-mmd,owae-data", **environment},
    )


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody who asks for any: it is free until it is used."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str], after: int = 0) -> int:
    """The step of the newest checkpoint, once there is one beyond `after`."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        steps = [int(path.stem.removeprefix("step-")) for path in checkpoint.paths(folder / "run" / "checkpoints")]
        if steps and steps[0] > after:
            return steps[0]
        assert process.poll() is None, process.communicate()
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
