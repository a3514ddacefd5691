"""Kills a training again and again, by SIGKILL at random moments, and compares what comes of it with a training left alone.

A cycle starts `owae train … --resume` for real and kills it: while it starts, between two checkpoints, or while one is written (as
soon as the temporary file shows, or within some milliseconds of it). After each, every checkpoint in the folder must open. It has an
average of the parameters, a schedule, a validation with a best checkpoint, and a worker that reads. At the end the run must equal the
one left alone: the same files, checkpoints and metrics to the bit, no stray file, no process left.

    python benchmarks/torture.py [--cycles 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
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
workers = 1
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


def start(config: Path, out: Path) -> subprocess.Popen[bytes]:
    log = (out.parent / f"{out.name}.log").open("ab")
    command = [sys.executable, "-m", "owae", "train", str(config), "--out", str(out), "--resume"]
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def kill_at_a_random_moment(process: subprocess.Popen[bytes], folder: Path, chance: random.Random, starting: float) -> str:
    """Waits for a moment, kills the process, and says which moment it was, or "ended" if the process ended before."""
    moment = chance.choice(["starting", "between", "between", "saving", "saving", "saving"])
    if moment == "starting":
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, starting))
    else:
        wanted, seen, since = chance.randint(1, MOST), newest(folder), time.monotonic()
        while process.poll() is None:
            if moment == "saving" and any(map(is_temporary, listed(folder))):
                wanted, since = wanted - 1, time.monotonic()
                if wanted <= 0:
                    break
                while process.poll() is None and any(map(is_temporary, listed(folder))):
                    pass
            elif moment == "between" and newest(folder) > seen:
                wanted, seen, since = wanted - 1, newest(folder), time.monotonic()
                if wanted <= 0:
                    break
            if time.monotonic() - since > PATIENCE:
                raise OwaeError(f"no checkpoint for {PATIENCE:.0f} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.choice([0, chance.uniform(0, 0.02)]))
    ended = process.poll() is not None
    during = any(map(is_temporary, listed(folder)))
    process.send_signal(signal.SIGKILL)
    process.wait()
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


def left_processes(run: Path) -> int:
    """Counts processes with the run's path in their command line, where the system tells (Linux)."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            count += str(run) in path.read_text(errors="replace")
    return count


def torture(folder: Path, cycles: int, seed: int = 0, *, said: bool = False) -> Outcome:
    """Runs so many cycles in a folder, then the training to its end, and compares it with one that was left alone."""
    config, chance, outcome = write_config(folder, cycles), random.Random(seed), Outcome()
    alone, killed = folder / "alone", folder / "killed"
    begun = time.monotonic()
    reference = start(config, alone)
    while newest(alone / CHECKPOINTS) == 0 and reference.poll() is None:
        time.sleep(0.05)
    starting = time.monotonic() - begun
    if reference.wait() != 0:
        outcome.failures.append(f"the training left alone ended with {reference.returncode}; see {alone}.log")
        return outcome
    while outcome.cycles < cycles:
        moment = kill_at_a_random_moment(process := start(config, killed), killed / CHECKPOINTS, chance, starting)
        outcome.cycles += 1
        outcome.moments[moment] += 1
        broken = that_do_not_open(killed / CHECKPOINTS)
        if moment == "ended":
            outcome.failures.append(f"cycle {outcome.cycles}: ended by itself with {process.returncode}; see {killed}.log")
        outcome.failures += [f"cycle {outcome.cycles}: {each}" for each in broken]
        outcome.survived += not broken and moment != "ended"
        if said:
            sys.stderr.write(f"\r{outcome.survived} / {outcome.cycles}, step {newest(killed / CHECKPOINTS)}")
    if (last := start(config, killed)).wait() != 0:
        outcome.failures.append(f"the last start ended with {last.returncode}; see {killed}.log")
    one, other = contents(alone), contents(killed)
    outcome.failures += [f"a stray file: {name}" for name in sorted({*other} - {*one})]
    outcome.failures += [f"missing: {name}" for name in sorted({*one} - {*other})]
    outcome.failures += [f"differs from the training left alone: {name}" for name in one if other.get(name, one[name]) != one[name]]
    deadline = time.monotonic() + 30
    while left_processes(killed) and time.monotonic() < deadline:
        time.sleep(0.2)
    if count := left_processes(killed):
        outcome.failures.append(f"{count} processes are left")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        outcome = torture(Path(folder), arguments.cycles, arguments.seed, said=True)
        sys.stderr.write("\n")
        for failure in outcome.failures:
            sys.stdout.write(f"{failure}\n")
        moments = ", ".join(f"{count} {moment}" for moment, count in outcome.moments.most_common())
        same = "equal to the bit" if not outcome.failures else "NOT equal"
        sys.stdout.write(f"survived {outcome.survived} / {outcome.cycles} (killed while: {moments}); at the end {same}\n")
    sys.exit(bool(outcome.failures))


if __name__ == "__main__":
    main()
