"""Keeps the state of a sweep in an Optuna study, which any number of workers on any number of machines share.

Every point is put into the study as a waiting trial before a worker takes it, and lost ones are put back: Optuna's own grid sampler
would count a trial that died as done. A trial that died leaves its run folder, which whoever takes the point again goes on with.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from owae.errors import TrainingError
from owae_sweep.space import Point, Sweep, key

logger = logging.getLogger(__name__)

RETRIES = 2  # times that a point is tried again after its worker died
# Without a pool, which would keep the connections of threads that have ended open.
_SQLITE = {"connect_args": {"timeout": 60}, "poolclass": NullPool}
OPEN = (TrialState.WAITING, TrialState.RUNNING)
WORKER, ENDED, SURPLUS, INTERRUPTED, DIED = "worker", "ended", "surplus", "interrupted", "died"


class Search:
    """A sweep's study.

    Args:
        sweep: What is searched.
        storage: A database's URL.
        name: The study's name in it.
        description: The base config and the table as text; workers of one sweep must agree on it.
        index: Which of several workers this is; each has a sampler with a seed of its own.
        heartbeat: Seconds between the signs of life of a running trial; after four without one its worker counts as dead.

    Raises:
        TrainingError: The database cannot be used, or holds another sweep of that name.
    """

    def __init__(self, sweep: Sweep, storage: str, name: str, description: str, *, heartbeat: int = 15, index: int = 0) -> None:
        self.sweep = sweep
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            with _without_experimental():
                self._storage = RDBStorage(
                    storage,
                    engine_kwargs=_SQLITE if storage.startswith("sqlite") else {"pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    grace_period=4 * heartbeat,
                )
                self.study = optuna.create_study(
                    storage=self._storage,
                    study_name=name,
                    directions=list(sweep.direction),
                    sampler=_sampler(sweep, sweep.seed + 1000 * index),
                    pruner=_pruner(sweep),
                    load_if_exists=True,
                )
        except ImportError as error:
            raise TrainingError(f"{_shown(storage)} needs a driver that is not installed: {error}") from error
        except (SQLAlchemyError, ValueError, RuntimeError) as error:
            raise TrainingError(f"{_shown(storage)} cannot be used: {str(error).splitlines()[0]}") from error
        known = self.study.user_attrs.get("description")
        if known is None:
            self.study.set_user_attr("description", description)
            self.study.set_user_attr("sweep", sweep.model_dump(mode="json"))
        elif known != description:
            self.close()
            raise TrainingError(
                f"{_shown(storage)} holds a sweep '{name}' of another config or space; choose another folder with --out, or another --name"
            )

    def close(self) -> None:
        """Closes the connections to the database."""
        self._storage.engine.dispose()

    def fill(self) -> None:
        """Puts waiting trials for the points that nobody has finished, has under way or is to take: at every start, and after a death."""
        with _without_experimental():
            optuna.storages.fail_stale_trials(self.study)
        by_point: dict[str, list[FrozenTrial]] = {}
        for trial in self.trials():
            by_point.setdefault(key(self.point_labels(trial)), []).append(trial)
        if self.sweep.sampler == "grid":
            points = [self.sweep.labels(point) for point in self.sweep.points()]
        else:
            points = [self.point_labels(trials[0]) for trials in by_point.values() if self.point_labels(trials[0])]
        for labels in points:
            if self._to_try(by_point.get(key(labels), [])):
                self.study.enqueue_trial(labels)

    @staticmethod
    def _to_try(trials: Sequence[FrozenTrial]) -> bool:
        """Says whether a point with these trials should be tried (again)."""
        if not all(trial.state is TrialState.FAIL for trial in trials):
            return False
        tries = [trial for trial in trials if INTERRUPTED not in trial.user_attrs]
        return len(tries) <= RETRIES and not any(ENDED in trial.user_attrs for trial in tries)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Returns the trials, without those that two workers took at once and one gave back."""
        return [trial for trial in self.study.get_trials(deepcopy=False, states=states or None) if SURPLUS not in trial.user_attrs]

    def left(self) -> bool:
        """Says whether there is a point that a worker could take now."""
        if self.trials(TrialState.WAITING):
            return True
        return self.sweep.sampler != "grid" and self._taken() < self.sweep.count

    def _taken(self) -> int:
        """Counts the points that were taken, each once however often it was tried."""
        return len({key(self.point_labels(trial)) for trial in self.trials()})

    def claim(self, trial: optuna.Trial) -> Point | None:
        """Returns the point of a trial that this worker has taken, or None where another worker has it or had it before.

        Two workers that see one waiting trial both ask; the second gets a fresh one, which a grid has no use for.
        """
        trial.set_user_attr(WORKER, worker_name())
        point = self.sweep.suggest(trial)
        mine = key(self.sweep.labels(point))
        rivals = [
            other
            for other in self.trials()
            if other.number != trial.number and key(self.point_labels(other)) == mine and other.state is not TrialState.FAIL
        ]
        first = all(
            other.state is TrialState.WAITING or (other.state is TrialState.RUNNING and other.number > trial.number)
            for other in rivals
        )
        over = self.sweep.sampler != "grid" and self._taken() > self.sweep.count
        if first and not over:
            return point
        trial.set_user_attr(SURPLUS, True)
        return None

    @staticmethod
    def point_labels(trial: FrozenTrial) -> dict[str, Any]:
        """Returns a trial's point as Optuna keeps it, also before it was taken."""
        return dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {}))

    def abandon(self, worker: str) -> int:
        """Gives up the running trials of a worker that died, so that `fill` puts their points back; returns how many."""
        mine = [trial for trial in self.trials(TrialState.RUNNING) if trial.user_attrs.get(WORKER) == worker]
        for trial in mine:
            with contextlib.suppress(RuntimeError):  # another worker saw that its heartbeat had stopped
                self._storage.set_trial_user_attr(trial._trial_id, DIED, True)
                self._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
        return len(mine)


def worker_name() -> str:
    """Returns what names this process among all workers."""
    return f"{socket.gethostname()}:{os.getpid()}"


def default_storage(folder: Path) -> str:
    """Returns the URL of the SQLite database in a sweep's folder."""
    return f"sqlite:///{(folder / 'sweep.db').absolute()}"


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple[optuna.Study, Sweep]]:
    """Opens the study of a sweep's folder to read, within the block.

    Raises:
        TrainingError: It is no sweep's folder.
    """
    storage = None
    try:
        try:
            said = json.loads((folder / "sweep.json").read_text())
            # Without a pool, for one that fails while it is made leaves its connections open.
            storage = RDBStorage(said["storage"], engine_kwargs={"poolclass": NullPool})
            study = optuna.load_study(study_name=said["name"], storage=storage)
            sweep = Sweep.model_validate(study.user_attrs["sweep"])
        except FileNotFoundError as error:
            raise TrainingError(
                f"{folder} is no sweep's folder: it has no sweep.json; `owae sweep CONFIG --out {folder}` makes one"
            ) from error
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SQLAlchemyError) as error:
            raise TrainingError(f"the sweep in {folder} cannot be opened: {str(error).splitlines()[0]}") from error
        yield study, sweep
    finally:
        if storage is not None:
            storage.engine.dispose()


def _sampler(sweep: Sweep, seed: int) -> optuna.samplers.BaseSampler:
    with _without_experimental():
        if sweep.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        if sweep.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)  # for a grid, whose points all wait, it draws nothing


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    return {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "successive-halving": optuna.pruners.SuccessiveHalvingPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
    }[sweep.pruner]()


@contextlib.contextmanager
def _without_experimental() -> Iterator[None]:
    """Runs a block without Optuna's warnings that heartbeats are experimental; owae tests what it uses of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _shown(storage: str) -> str:
    """Returns a database's URL without the password."""
    from sqlalchemy.engine import make_url

    with contextlib.suppress(Exception):
        return make_url(storage).render_as_string(hide_password=True)
    return storage
