"""Draws what a sweep has found: heat maps, parallel coordinates, importances, samples side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from owae.registry.registry import Registry
from owae.run.opened import open_run
from owae_sweep.search import opened
from owae_sweep.space import Range, Sweep, label

SHEETS = 12  # points whose samples are drawn, where they are not a grid of two


def draw(folder: Path) -> list[Path]:
    """Draws what can be drawn of the finished points into the folder and returns the files.

    A heat map needs two parameters, the others a finished point for each parameter and one more.
    """
    with opened(folder) as (study, sweep):
        return _drawn(folder, study, sweep)


def _drawn(folder: Path, study: optuna.Study, sweep: Sweep) -> list[Path]:
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
    found = sample_sheets(folder, sweep, trials)
    return drawn if found is None else [*drawn, found]


def sample_sheets(folder: Path, sweep: Sweep, trials: Sequence[FrozenTrial]) -> Path | None:
    """Draws samples of the best points' first runs side by side, each under its point and value; None where data are no pictures.

    The grid of two listed parameters is laid out as its heat map, other points come best first, `SHEETS` at most.
    """
    from matplotlib import pyplot as plt

    from owae_report.events import draw_samples
    from owae_report.pixels import drawable, to_pixels

    sign = 1 if sweep.direction[0] == "minimize" else -1
    ordered = sorted(trials, key=lambda trial: sign * _first_value(trial))
    as_grid = len(sweep.parameters) == 2 and all(isinstance(values, list) for values in sweep.parameters.values())
    if as_grid:
        across, up = ([_shown(value) for value in values] for values in sweep.parameters.values() if isinstance(values, list))
        columns, rows = len(across), len(up)
    else:
        ordered = ordered[:SHEETS]
        columns = min(len(ordered), 4)
        across, up, rows = [], [], -(-len(ordered) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.8 * columns, 2.1 * rows), layout="constrained", squeeze=False)
    for each in axes.flat:
        each.axis("off")
    registry = Registry.discover()
    for i, trial in enumerate(ordered):
        run = open_run(folder / trial.user_attrs["runs"][0], registry)
        source = run.source("test")
        if not drawable(source.shape):
            plt.close(figure)
            return None
        pictures = to_pixels(draw_samples(run.model, 16), source.value_range)
        lines = [np.concatenate(list(pictures[row : row + 4]), axis=1) for row in range(0, 16, 4)]
        row, column = divmod(i, columns)
        if as_grid:
            first, second = (_shown(trial.params[name]) for name in sweep.parameters)
            row, column = rows - 1 - up.index(second), across.index(first)
        axes[row, column].imshow(np.concatenate(lines, axis=0), cmap="gray", vmin=0, vmax=255)
        said = "\n".join(f"{name.rpartition('.')[2]} {_shown(value)}" for name, value in trial.params.items())
        axes[row, column].set_title(f"{said}\n{sweep.metric[0]} {_first_value(trial):.3g}", fontsize=7)
    path = folder / "samples.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


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
        figure.colorbar(draw_cells(axes, x, y, cells, said), label=sweep.metric[metric])
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure


def draw_cells(
    axes: Any, x: Sequence[str], y: Sequence[str], cells: Sequence[Sequence[float]], said: Mapping[tuple[int, int], str]
) -> Any:
    """Draws values over two listed parameters as coloured cells, each with what is said of it by (row, column); returns the image."""
    image = axes.imshow(cells, origin="lower", aspect="auto", cmap="viridis")
    known = [value for row in cells for value in row if value == value]
    middle = (min(known) + max(known)) / 2
    for (i, j), text in said.items():
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color="black" if cells[i][j] > middle else "white")
    axes.set_xticks(range(len(x)), x)
    axes.set_yticks(range(len(y)), y)
    return image


def _shown(value: Any) -> str:
    given = label(value)
    return f"{given:g}" if isinstance(given, float) else str(given)
