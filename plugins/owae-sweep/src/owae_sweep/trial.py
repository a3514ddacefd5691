"""Trains and measures one point of a sweep: an ordinary run folder for each seed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna

from owae.errors import OwaeError, TrainingError, suggestion
from owae.hooks import hookimpl
from owae.interfaces import Observer
from owae.registry.registry import Registry
from owae.run.opened import Run
from owae.run.train import train
from owae_sweep.space import Base, Point, Sweep, key

logger = logging.getLogger(__name__)

MEASURED = "sweep.json"  # in a run folder: what was measured of it


class PrunedError(OwaeError):
    """Training was ended early by the sweep's pruner."""


def run_folder(folder: Path, labels: Mapping[str, Any], seed: int) -> Path:
    """Returns the run folder of a point and a seed: the same for whoever takes the point again."""
    name = hashlib.sha256(key(labels).encode()).hexdigest()[:10]
    return folder / "runs" / f"{name}-seed{seed}"


def run_point(sweep: Sweep, base: Base, folder: Path, point: Point, trial: optuna.Trial) -> list[float]:
    """Trains a point with every seed and returns the mean of each metric; single values and standard deviations go into the trial.

    Raises:
        TrainingError: A training failed, or a metric is not there or not finite.
        InterruptionError: A signal; what was trained is saved.
        PrunedError: The pruner ended it.
    """
    values: list[list[float]] = []
    by_metric: list[list[float]] = []
    folders = []
    for seed in sweep.seeds:
        out = run_folder(folder, sweep.labels(point), seed)
        folders.append(str(out.relative_to(folder)))
        values.append(_measured(sweep, base, out, point, seed, trial))
        by_metric = [list(column) for column in zip(*values, strict=True)]
        trial.set_user_attr("runs", folders)
        trial.set_user_attr("values", by_metric)
    trial.set_user_attr("deviations", [statistics.stdev(column) if len(column) > 1 else None for column in by_metric])
    return [statistics.fmean(column) for column in by_metric]


def _measured(sweep: Sweep, base: Base, out: Path, point: Point, seed: int, trial: optuna.Trial) -> list[float]:
    saved = out / MEASURED
    if saved.is_file():
        numbers = json.loads(saved.read_text())
        if all(metric in numbers for metric in sweep.metric):
            return [numbers[metric] for metric in sweep.metric]
    registry = base.registry if sweep.pruner == "none" else _with_pruning(base.registry, sweep.prune_by, trial)
    with _warnings_only():
        run = train(base.at(point, seed), registry, out=out, resume=out.exists())
        numbers = measure(run, sweep.metric)
    saved.write_text(json.dumps(numbers))
    return [numbers[metric] for metric in sweep.metric]


@contextlib.contextmanager
def _warnings_only() -> Iterator[None]:
    """Runs a block in which owae logs warnings alone: what each of many trainings says of itself stands in its run folder."""
    log = logging.getLogger("owae")
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        log.setLevel(level)


def measure(run: Run, metrics: tuple[str, ...]) -> dict[str, float]:
    """Looks metrics up by name: among the numbers of an evaluation, or the last ones that training logged.

    Raises:
        TrainingError: There is none of that name, or it is not a finite number.
    """
    logged = _logged(run.folder)
    found = dict(logged)
    for blocks in ((), ("samples", "generalisation", "levels")):  # the errors and accuracies first: samples take a while
        if any(metric not in found for metric in metrics):
            found |= _evaluated(run, blocks)
    for metric in metrics:
        if metric not in found:
            raise TrainingError(f"metric '{metric}': {suggestion(metric, found)}")
        if not math.isfinite(found[metric]):
            raise TrainingError(f"metric '{metric}' is {found[metric]} in {run.folder}")
    return {metric: found[metric] for metric in metrics}


def _logged(folder: Path) -> dict[str, float]:
    last: dict[str, float] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        last |= {name: value for name, value in json.loads(line).items() if isinstance(value, int | float)}
    return last


def _evaluated(run: Run, blocks: tuple[str, ...]) -> dict[str, float]:
    from owae_report.evaluation.whole import Options, judge

    return dict(_flat(judge(run.model, run.source("train"), run.source("test"), Options(blocks=blocks)).to_dict()))


def _flat(value: Any, place: str = "") -> list[tuple[str, float]]:
    """Lists the numbers in nested tables and lists by their paths, as `levels[4].accuracy`."""
    if isinstance(value, dict):
        return [each for name, item in value.items() for each in _flat(item, f"{place}.{name}" if place else str(name))]
    if isinstance(value, list | tuple):
        return [each for i, item in enumerate(value) for each in _flat(item, f"{place}[{i}]")]
    return [(place, float(value))] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _with_pruning(registry: Registry, name: str, trial: optuna.Trial) -> Registry:
    """Returns a registry with an observer that reports a number to Optuna after each epoch and ends training where Optuna says so."""

    class Pruning(Observer):
        __module__ = "owae_sweep"
        always = True

        def __init__(self, training: Any, /) -> None:
            self.latest: float | None = None

        def values(self, values: Mapping[str, float | None]) -> None:
            self.latest = values.get(name, self.latest)

        def epoch_ended(self, epoch: int, *, last: bool) -> Mapping[str, Any]:
            if self.latest is not None and not last:
                trial.report(self.latest, epoch)
                if trial.should_prune():
                    raise PrunedError(f"pruned after epoch {epoch}: {name} was {self.latest:g}")
            return {}

    Pruning.name = "sweep-pruning"
    plugin = type("PruningPlugin", (), {"owae_components": staticmethod(hookimpl(lambda: [Pruning]))})
    fresh = Registry.discover()
    fresh.register(plugin, name="sweep-pruning", distribution="owae-sweep")
    return fresh
