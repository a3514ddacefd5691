"""Kills a training again and again, by SIGKILL at random moments, and compares what comes of it with a training left alone.

A cycle starts `owae train … --resume` and kills it: while it starts, between two checkpoints, or while one is written (as soon as
the temporary file shows, or within some milliseconds of it). After each, every checkpoint in the folder must open. It has an average
of the parameters, a schedule, a validation with a best checkpoint, and in a third of the cycles a worker that reads. At the end the
run must equal the one left alone: the same files, checkpoints and metrics to the bit, no stray file, no process left.

The processes are forked from one that has imported everything, which saves most of the time; `--exec` starts a program for each.

    python benchmarks/torture.py [--cycles 100] [--seed 0] [--exec]
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from owae.cli import main as owae
from owae.errors import OwaeError
from owae.files import is_temporary
from owae.run import checkpoint
from owae.run.folder import CHECKPOINTS, LOCK

BETWEEN = 5  # steps from one checkpoint to the next
MOST = 6  # checkpoints that a cycle waits for, at most
STEPS_AN_EPOCH = 16
PATIENCE = 600.0  # seconds without progress after which a training counts as hung

CONFIG = """
[data]
kind = "arrays"
path = "images.npz"

[[levels]]
layer = {{ kind = "mlp", latent = 8, hidden = [16, 16], output = "sigmoid" }}

[[levels]]
layer = {{ kind = "mlp", latent = 2, hidden = [16, 16] }}

[weights]
reconstruction = [0.5]
match = 0.5

[divergence]
kind = "mmd"

[train]
epochs = {epochs}
batch_size = 16
log_every = 1
checkpoint_steps = {between}
ema = 0.9
optimizer = {{ name = "Adam", lr = 1e-3 }}
schedule = {{ name = "CosineAnnealingLR" }}
warmup = 7
validation = 32
best = "validation/loss"
"""


@dataclass
class Outcome:
    """What the cycles came to.

    Attributes:
        cycles: How many there were.
        survived: After how many of them every checkpoint opened, and the next start went on.
        moments: How many kills fell on which moment.
        failures: What went wrong, in words; empty if the run equals the one left alone.
    """

    cycles: int = 0
    survived: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def write_config(folder: Path, cycles: int) -> Path:
    """Writes a config, and data for it, whose training outlasts so many cycles."""
    images = np.random.default_rng(0).integers(0, 256, (STEPS_AN_EPOCH * 16 * 10 // 9 + 64, 1, 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    # A cycle takes up to MOST checkpoints, and a few steps more before the signal has come.
    epochs = max(2, -(-cycles * (MOST + 3) * BETWEEN // STEPS_AN_EPOCH))
    path = folder / "torture.toml"
    path.write_text(CONFIG.format(epochs=epochs, between=BETWEEN))
    return path


class Training:
    """A started `owae train`, in a session of its own."""

    def __init__(self, config: Path, out: Path, workers: int, *, forked: bool) -> None:
        arguments = ["train", str(config), "--out", str(out), "--resume", "--set", f"train.workers={workers}"]
        self._log = out.parent / f"{out.name}.log"
        self._forked = self._program = None
        if forked:
            self._forked = multiprocessing.get_context("fork").Process(target=self._run, args=(arguments,))
            self._forked.start()
            self.pid = self._forked.pid or 0
        else:
            with self._log.open("ab") as log:
                command = [sys.executable, "-m", "owae", *arguments]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                self._program = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            self.pid = self._program.pid

    def _run(self, arguments: list[str]) -> None:
        os.setsid()
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for stream in (1, 2):
            os.dup2(log, stream)
        owae(arguments)

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits until it has ended, or so many seconds; returns its exit code, or None while it runs."""
        if self._forked is not None:
            self._forked.join(seconds)
            return self._forked.exitcode
        assert self._program is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._program.wait(seconds)
        return self._program.poll()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()


def kill_at_a_random_moment(process: Training, folder: Path, chance: random.Random, starting: float) -> str:
    """Waits for a moment, kills the process, and says which moment it was, or "ended" if the process ended before."""
    moment = chance.choice(["starting", "between", "between", "saving", "saving", "saving"])
    if moment == "starting":
        process.wait(chance.uniform(0, starting))
    else:
        wanted, seen, since = chance.randint(1, MOST), newest(folder), time.monotonic()
        while process.wait(0) is None:
            if moment == "saving" and any(map(is_temporary, listed(folder))):
                wanted, since = wanted - 1, time.monotonic()
                if wanted <= 0:
                    break
                while process.wait(0) is None and any(map(is_temporary, listed(folder))):
                    pass
            elif moment == "between" and newest(folder) > seen:
                wanted, seen, since = wanted - 1, newest(folder), time.monotonic()
                if wanted <= 0:
                    break
            if time.monotonic() - since > PATIENCE:
                raise OwaeError(f"no checkpoint for {PATIENCE:.0f} s")
        process.wait(chance.choice([0, chance.uniform(0, 0.02)]))
    ended = process.wait(0) is not None
    during = any(map(is_temporary, listed(folder)))
    process.kill()
    return "ended" if ended else "saving" if during or any(map(is_temporary, listed(folder))) else moment


def listed(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def newest(folder: Path) -> int:
    return max((int(path.stem.removeprefix("step-")) for path in checkpoint.paths(folder)), default=0)


def that_do_not_open(folder: Path) -> list[str]:
    """Names the checkpoints that do not open."""
    broken = []
    for path in [*checkpoint.paths(folder), *folder.glob(checkpoint.best_path(folder).name)]:
        try:
            checkpoint.load(path)
        except OwaeError as error:
            broken.append(f"{path.name}: {error}")
    return broken


def contents(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file() and path.name != LOCK
    }


def left_of(sessions: set[int]) -> int:
    """Counts the processes that are left of these sessions, where the system tells (Linux); what has ended does not count."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
            count += int(session) in sessions and state != "Z"
    return count


def torture(folder: Path, cycles: int, seed: int = 0, *, forked: bool = True, said: bool = False) -> Outcome:
    """Runs so many cycles in a folder, then the training to its end, and compares it with one that was left alone."""
    config, chance, outcome = write_config(folder, cycles), random.Random(seed), Outcome()
    alone, killed = folder / "alone", folder / "killed"
    sessions: set[int] = set()

    def start(out: Path, workers: int = 0) -> Training:
        training = Training(config, out, workers, forked=forked)
        sessions.add(training.pid)
        return training

    begun = time.monotonic()
    reference = start(alone)
    while newest(alone / CHECKPOINTS) == 0 and reference.wait(0.05) is None:
        pass
    starting = time.monotonic() - begun
    if (code := reference.wait()) != 0:
        outcome.failures.append(f"the training left alone ended with {code}; see {alone}.log")
        return outcome
    while outcome.cycles < cycles:
        process = start(killed, workers=chance.choice([0, 0, 1]))
        moment = kill_at_a_random_moment(process, killed / CHECKPOINTS, chance, starting)
        outcome.cycles += 1
        outcome.moments[moment] += 1
        broken = that_do_not_open(killed / CHECKPOINTS)
        if moment == "ended":
            outcome.failures.append(f"cycle {outcome.cycles}: ended by itself with {process.wait(0)}; see {killed}.log")
        outcome.failures += [f"cycle {outcome.cycles}: {each}" for each in broken]
        outcome.survived += not broken and moment != "ended"
        if said:
            sys.stderr.write(f"\r{outcome.survived} / {outcome.cycles}, step {newest(killed / CHECKPOINTS)}")
    if (code := start(killed).wait()) != 0:
        outcome.failures.append(f"the last start ended with {code}; see {killed}.log")
    one, other = contents(alone), contents(killed)
    outcome.failures += [f"a stray file: {name}" for name in sorted({*other} - {*one})]
    outcome.failures += [f"missing: {name}" for name in sorted({*one} - {*other})]
    outcome.failures += [f"differs from the training left alone: {name}" for name in one if other.get(name, one[name]) != one[name]]
    deadline = time.monotonic() + 30
    while left_of(sessions) and time.monotonic() < deadline:
        time.sleep(0.2)
    if count := left_of(sessions):
        outcome.failures.append(f"{count} processes are left")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exec", action="store_true", help="start a program in each cycle")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        outcome = torture(Path(folder), arguments.cycles, arguments.seed, forked=not arguments.exec, said=True)
        sys.stderr.write("\n")
        for failure in outcome.failures:
            sys.stdout.write(f"{failure}\n")
        moments = ", ".join(f"{count} {moment}" for moment, count in outcome.moments.most_common())
        same = "equal to the bit" if not outcome.failures else "NOT equal"
        sys.stdout.write(f"survived {outcome.survived} / {outcome.cycles} (killed while: {moments}); at the end {same}\n")
    sys.exit(bool(outcome.failures))


if __name__ == "__main__":
    main()
