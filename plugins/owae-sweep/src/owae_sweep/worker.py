"""Takes points of a sweep, one after the other, until none is left; starts and watches worker processes."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from owae.errors import STOP_SIGNALS, InterruptionError, OwaeError, TrainingError
from owae.run.signals import Interrupts
from owae_sweep.search import ENDED, INTERRUPTED, Search
from owae_sweep.space import Base, Sweep
from owae_sweep.trial import PrunedError, run_point

logger = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at the study, where others' trials are awaited
DEATHS = 3  # of worker processes in a row that finish nothing, after which the sweep ends


def work(sweep: Sweep, base: Base, search: Search, folder: Path) -> None:
    """Trains points until none is left and none is under way elsewhere, for a worker that dies gives its point back.

    Raises:
        InterruptionError: A signal; the point under way is put back, and its run folder goes on from where it stopped.
        TrainingError: The database was lost.
    """
    with Interrupts() as interrupts:
        _work(sweep, base, search, folder, interrupts)


def _stop_if(interrupts: Interrupts) -> None:
    if interrupts.received:
        raise InterruptionError("the sweep was stopped by a signal; --resume goes on", interrupts.received)


def _work(sweep: Sweep, base: Base, search: Search, folder: Path, interrupts: Interrupts) -> None:
    interrupted: list[InterruptionError] = []
    taken: list[int] = []

    def objective(trial: optuna.Trial) -> list[float]:
        taken.append(trial.number)
        point = search.claim(trial)
        if point is None:
            raise optuna.TrialPruned
        shown = ", ".join(f"{name} = {value}" for name, value in sweep.labels(point).items())
        logger.info("point %d: %s", trial.number, shown)
        try:
            values = run_point(sweep, base, folder, point, trial, lambda: _stop_if(interrupts))
        except PrunedError as error:
            logger.info("point %d %s", trial.number, error)
            raise optuna.TrialPruned(str(error)) from error
        except InterruptionError as error:
            trial.set_user_attr(INTERRUPTED, True)
            interrupted.append(error)
            raise
        except OwaeError as error:
            # A training that diverges does so again: the point is not tried once more.
            trial.set_user_attr(ENDED, str(error))
            logger.warning("point %d failed: %s", trial.number, error)
            raise
        logger.info("point %d: %s", trial.number, ", ".join(f"{m} {v:.4g}" for m, v in zip(sweep.metric, values, strict=True)))
        return values

    try:
        while True:
            _stop_if(interrupts)
            search.fill()
            if not search.left():
                if not search.trials(TrialState.RUNNING):
                    return
                time.sleep(POLL)
                continue
            try:
                search.study.optimize(objective, n_trials=1, catch=(OwaeError,))
            except (RuntimeError, AssertionError):
                # Optuna fails so at a trial that another worker gave up because its heartbeat had stopped for long, as when this
                # process was suspended. What was measured is saved in the run folder, where whoever takes the point again finds it.
                if taken[-1] not in {trial.number for trial in search.trials(TrialState.FAIL)}:
                    raise
                logger.warning("point %d was given up by another worker meanwhile; it is taken again", taken[-1])
            if interrupted:
                search.fill()
                raise interrupted[0]
    except SQLAlchemyError as error:
        raise TrainingError(f"the sweep's database was lost: {str(error).splitlines()[0]}; --resume goes on") from error


def watch(arguments: Sequence[str], workers: int, search: Search) -> None:
    """Runs worker processes, each by the same command, until the sweep is done; a dead one's point is put back and it is replaced.

    Raises:
        InterruptionError: A signal; the workers were handed it and have saved.
        TrainingError: Workers die again and again.
    """
    running: dict[int, subprocess.Popen[bytes]] = {}
    received: list[int] = []
    deaths = 0

    def start(index: int) -> None:
        command = [sys.executable, "-m", "owae", *arguments, "--workers", "1", "--index", str(index)]
        running[index] = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    with _signals(received):
        try:
            for index in range(workers):
                start(index)
            done = _finished(search)
            while running:
                if received:
                    break
                time.sleep(0.2)
                for index, process in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[index]
                    lost = search.abandon(f"{socket.gethostname()}:{process.pid}")
                    if process.returncode == 0:
                        continue
                    finished = _finished(search)
                    deaths, done = (1, finished) if finished > done else (deaths + 1, finished)
                    logger.warning("a worker ended with %d; %d point(s) put back", process.returncode, lost)
                    if deaths > DEATHS:
                        raise TrainingError(f"{deaths} workers in a row ended with nothing finished; the lines above say why")
                    search.fill()
                    if search.left():
                        start(index)
        finally:
            for process in running.values():
                process.send_signal(received[0] if received else signal.SIGTERM)
            for process in running.values():
                process.wait()
    if received:
        raise InterruptionError("the sweep was stopped by a signal; points under way are saved, --resume goes on", received[0])


def _finished(search: Search) -> int:
    return len([trial for trial in search.trials() if trial.state.is_finished() and trial.state is not TrialState.FAIL])


@contextlib.contextmanager
def _signals(received: list[int]) -> Iterator[None]:
    """Notes the signals that stop a training in a list within the block; what is ignored stays so."""
    handled = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda n, _: received.append(n)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
