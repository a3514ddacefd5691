"""The curves of a training: every number that was logged, as charts, one a term with a line a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from owae.run.metrics import read_metrics
from owae_report.page.charts import COLOURS, chart
from owae_report.page.parts import joined, paragraph

METRICS = "metrics.jsonl"
_HELD_OUT = ", held out"
_FLOOR = "divergence_floor", "divergence_floor_sd"
_TITLES = {
    "loss": "loss, what is minimised",
    "transport": "transport (Eq. 14)",
    "cost": "costs, unweighted",
    "penalty": "penalties, unweighted",
    "divergence": "divergence from the prior; shaded: what equal distributions give, ± 2 s.d.",
    "spread": "spread of the codes",
    "variance": "variance of the encoders",
    "gradient": "norm of the gradient",
    "lr": "learning rate",
}
_LEVELS = {"cost": "on z_{}", "penalty": "at z_{}", "spread": "z_{}", "variance": "z_{}", "gradient": "level {}"}


def curves(folder: Path, phases: Sequence[str]) -> Markup:
    """Draws the curves of a run folder, and those of each further phase of its training."""
    parts = [_of(folder / METRICS, "")]
    parts += [_of(folder / name / METRICS, name) for name in phases]
    return joined(parts)


def _of(path: Path, phase: str) -> Markup:
    heading = Markup("<h3>{}</h3>").format(f"phase {phase}") if phase else Markup("")
    lines = read_metrics(path) if path.is_file() else []
    if not lines:
        return heading + paragraph(f"Not drawn: the run has no {phase + '/' if phase else ''}{METRICS}.", "warning")
    charts = []
    for name, found in grouped(lines).items():
        band = _band(lines) if name == "divergence" else None
        charts.append(chart(_TITLES.get(name, name), found, "step", band=band, classes=_classes(list(found))))
    return heading + Markup('<div class="charts">{}</div>').format(joined(charts))


def _classes(names: Sequence[str]) -> dict[str, str]:
    """Gives a line and the same of held-out examples one colour, the second one dashed."""
    trained = list(dict.fromkeys(name.removesuffix(_HELD_OUT) for name in names))
    return {
        name: f"line c{trained.index(name.removesuffix(_HELD_OUT)) % COLOURS}" + (" dashed" if name.endswith(_HELD_OUT) else "")
        for name in names
    }


def grouped(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[float, float | None]]]]:
    """Sorts what was logged into charts: `cost/0` and `cost/1` are lines of one, and so are a term and the same of a validation.

    >>> grouped([{"step": 1, "epoch": 1, "cost/0": 2.0, "cost/1": None, "loss": 3.0, "validation/loss": 4.0}])
    {'loss': {'loss': [(1, 3.0)], 'loss, held out': [(1, 4.0)]}, 'cost': {'on z_0': [(1, 2.0)], 'on z_1': [(1, None)]}}
    """
    names = [name for name in dict.fromkeys(key for line in lines for key in line) if name not in ("step", "epoch", *_FLOOR)]
    order = list(_TITLES)
    charts: dict[str, dict[str, list[tuple[float, float | None]]]] = {}
    for name in names:
        logged = name.removeprefix("validation/")
        term, _, level = logged.rpartition("/")
        if level.isdecimal() and term:
            label = _LEVELS.get(term, "{}").format(level)
        else:
            term = label = logged
        points = [(line["step"], line[name]) for line in lines if name in line and isinstance(line[name], float | int | None)]
        charts.setdefault(term, {})[label + (_HELD_OUT if logged != name else "")] = points
    return dict(sorted(charts.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def _band(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Returns what the divergence of equal distributions gives, two standard deviations each way."""
    mean, deviation = (next((line[key] for line in reversed(lines) if line.get(key) is not None), None) for key in _FLOOR)
    return None if mean is None or deviation is None else (mean - 2 * deviation, mean + 2 * deviation)
