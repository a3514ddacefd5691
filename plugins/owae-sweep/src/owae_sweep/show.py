"""Tells and draws what a sweep has found: a table, a heat map, parallel coordinates, importances."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from owae_sweep.search import ENDED, SURPLUS, Search, open_study
from owae_sweep.space import Range, Sweep, key, label

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
    study, sweep = open_study(folder)
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


def draw(folder: Path) -> list[Path]:
    """Draws what can be drawn of the finished points into the folder and returns the files.

    A heat map needs two parameters, the others a finished point for each parameter and one more.
    """
    study, sweep = open_study(folder)
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    if len(trials) < 2:
        return []
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    drawn = []
    if len(sweep.parameters) == 2:
        for i in range(len(sweep.metric)):
            figure = _heat_map(sweep, trials, i)
            drawn.append(folder / (f"heat-map-{i + 1}.png" if len(sweep.metric) > 1 else "heat-map.png"))
            figure.savefig(drawn[-1], dpi=150)
            plt.close(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        from optuna.visualization import matplotlib as plots

        for name, plot in (("parallel-coordinates", plots.plot_parallel_coordinate), ("importances", plots.plot_param_importances)):
            if len(trials) <= len(sweep.parameters) or len(sweep.parameters) < 2:
                continue
            try:
                axes = plot(study, target=_first_value, target_name=next(iter(sweep.metric)))
            except (ValueError, RuntimeError):  # all values are equal: nothing is more important than another
                continue
            drawn.append(folder / f"{name}.png")
            plt.figure(axes.figure.number)  # pyright: ignore[reportAttributeAccessIssue] # it is a whole figure
            plt.savefig(drawn[-1], dpi=150, bbox_inches="tight")
            plt.close()
    return drawn


def _first_value(trial: FrozenTrial) -> float:
    return next(iter(trial.values))


def _heat_map(sweep: Sweep, trials: list[FrozenTrial], metric: int) -> Any:
    """Draws a metric over two parameters: a grid as cells with mean and s.d., sampled points as dots."""
    from matplotlib import pyplot as plt

    (across, columns), (up, rows) = sweep.parameters.items()
    figure, axes = plt.subplots(figsize=(7.2, 5.2), layout="constrained")
    if isinstance(columns, Range) or isinstance(rows, Range):
        dots = axes.scatter(
            [trial.params[across] for trial in trials],
            [trial.params[up] for trial in trials],
            c=[trial.values[metric] for trial in trials],
            cmap="viridis",
            s=60,
        )
        for set_scale, values in ((axes.set_xscale, columns), (axes.set_yscale, rows)):
            if isinstance(values, Range) and values.log:
                set_scale("log")
        figure.colorbar(dots, label=sweep.metric[metric])
    else:
        x, y = (list(map(_shown, values)) for values in (columns, rows))
        cells = [[float("nan")] * len(x) for _ in y]
        said: dict[tuple[int, int], str] = {}
        for trial in trials:
            i, j = y.index(_shown(trial.params[up])), x.index(_shown(trial.params[across]))
            cells[i][j] = trial.values[metric]
            deviation = (trial.user_attrs.get("deviations") or [None] * (metric + 1))[metric]
            said[i, j] = f"{cells[i][j]:.3g}" + ("" if deviation is None else f"\n± {deviation:.1g}")
        image = axes.imshow(cells, origin="lower", aspect="auto", cmap="viridis")
        known = [value for row in cells for value in row if value == value]
        middle = (min(known) + max(known)) / 2
        for (i, j), text in said.items():
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="black" if cells[i][j] > middle else "white")
        axes.set_xticks(range(len(x)), x)
        axes.set_yticks(range(len(y)), y)
        figure.colorbar(image, label=sweep.metric[metric])
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure


def _shown(value: Any) -> str:
    given = label(value)
    return f"{given:g}" if isinstance(given, float) else str(given)
