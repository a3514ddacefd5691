"""Tells what a sweep has found as a table or as plain values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from owae_sweep.search import ENDED, SURPLUS, Search, opened
from owae_sweep.space import Sweep, key

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}


def summary(folder: Path) -> dict[str, Any]:
    """Collects a sweep as plain values, fit for JSON: its points best first (of a Pareto front: first in trial order), then the rest.

    Raises:
        TrainingError: It is no sweep's folder.
    """
    with opened(folder) as (study, sweep):
        return _summary(folder, study, sweep)


def _summary(folder: Path, study: optuna.Study, sweep: Sweep) -> dict[str, Any]:
    by_point: dict[str, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if SURPLUS not in trial.user_attrs:
            by_point[key(Search.point_labels(trial))] = trial  # the latest try
    points = [_row(trial) for trial in by_point.values()]
    sign = 1 if sweep.direction[0] == "minimize" else -1
    points.sort(
        key=lambda row: (row["state"] != "finished", sign * row["mean"][0] if row["state"] == "finished" else row["number"])
    )
    finished = [trial for trial in by_point.values() if trial.state is TrialState.COMPLETE]
    front = {trial.number for trial in study.best_trials} if finished and len(sweep.metric) > 1 else set()
    return {
        "folder": str(folder),
        "metric": list(sweep.metric),
        "direction": list(sweep.direction),
        "seeds": list(sweep.seeds),
        "points": sweep.count,
        "finished": len(finished),
        "best": (points[0] if len(sweep.metric) == 1 else [row for row in points if row["number"] in front]) if finished else None,
        "trials": points,
    }


def _row(trial: FrozenTrial) -> dict[str, Any]:
    attributes = trial.user_attrs
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "point": Search.point_labels(trial),
        "mean": trial.values if trial.state is TrialState.COMPLETE else None,
        "deviation": attributes.get("deviations"),
        "values": attributes.get("values"),
        "runs": attributes.get("runs", []),
        "reason": attributes.get(ENDED),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
    }


def tables(found: dict[str, Any]) -> Iterator[str]:
    """Words a summary as lines of Markdown."""
    names = list(found["trials"][0]["point"]) if found["trials"] else []
    over = f" ± s.d. over {len(found['seeds'])} seeds" if len(found["seeds"]) > 1 else ""
    yield f"{found['finished']} of {found['points']} points finished"
    yield ""
    yield "| " + " | ".join([*names, *(f"{metric}{over}" for metric in found["metric"]), "state", "runs"]) + " |"
    yield "|" + "---|" * (len(names) + len(found["metric"]) + 2)
    for row in found["trials"]:
        values = ["–"] * len(found["metric"])
        if row["mean"] is not None:
            spread = row["deviation"] or [None] * len(values)
            values = [f"{m:.4g}" + ("" if s is None else f" ± {s:.2g}") for m, s in zip(row["mean"], spread, strict=True)]
        state = row["state"] + (f": {row['reason']}" if row["reason"] else "")
        yield (
            "| "
            + " | ".join([*(str(row["point"].get(name, "–")) for name in names), *values, state, ", ".join(row["runs"])])
            + " |"
        )


def watch(folder: Path) -> None:
    """Shows the table on the terminal until nothing waits or runs."""
    from rich.live import Live
    from rich.text import Text

    with Live(refresh_per_second=2, transient=True) as shown:
        while True:
            found = summary(folder)
            shown.update(Text("\n".join(tables(found))))
            if not any(row["state"] in ("waiting", "running") for row in found["trials"]):
                return
            time.sleep(2)
