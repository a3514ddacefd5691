"""Compares runs by their evaluations: seeds of one config are averaged, and a best is named only where the difference exceeds its error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from owae_report.evaluation.samples import LOWER_IS_BETTER, METRICS

CLEAR = 2.0  # standard errors by which the best must be ahead of each other to be called the best


@dataclass(frozen=True)
class Cell:
    """A number of one group of runs.

    Attributes:
        value: The mean over the group's runs.
        error: Its standard error: over training seeds where there are several runs, else what is known of one run (sampling seeds, or
            the number of held-out examples); None where nothing is.
    """

    value: float
    error: float | None


@dataclass(frozen=True)
class Row:
    """A number of all groups.

    Attributes:
        name: What it is.
        cells: By group; None where a group lacks it.
        best: The group that is best beyond its error, or None.
    """

    name: str
    cells: dict[str, Cell | None]
    best: str | None


def grouped(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Groups runs, given the configs by the runs' names, whose configs differ by the training's seed alone; a group is called as its first.

    >>> grouped({"a": {"train": {"seed": 0}}, "b": {"train": {"seed": 1}}, "c": {"train": {"seed": 0, "epochs": 2}}})
    {'a': ['a', 'b'], 'c': ['c']}
    """
    groups: dict[str, list[str]] = {}
    kept: dict[str, Mapping[str, Any]] = {}
    for name, config in configs.items():
        without = {**config, "train": {key: value for key, value in config["train"].items() if key != "seed"}}
        same = next((first for first, other in kept.items() if other == without), None)
        if same is None:
            kept[name], groups[name] = without, [name]
        else:
            groups[same].append(name)
    return groups


def compare(
    results: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], measured_on: Mapping[str, str] | None = None
) -> tuple[list[Row], list[str]]:
    """Puts evaluations, as `Judgement.to_dict` gives them, side by side.

    Args:
        results: By the runs' names.
        groups: The runs of each group.
        measured_on: By the runs' names, what tells their held-out examples apart; alike unless given.

    Returns:
        The rows, and warnings: data that differ, so that nothing is best, or extractors that rank the groups differently.
    """
    sets: dict[str, list[str]] = {}
    for name, data in (measured_on or {}).items():
        sets.setdefault(data, []).append(name)
    tables = {name: dict(_numbers(result)) for name, result in results.items()}
    keys = list(dict.fromkeys(key for table in tables.values() for key in table))
    rows = []
    for key in keys:
        cells = {group: _cell([tables[name][key] for name in names if key in tables[name]]) for group, names in groups.items()}
        lower = next((found.lower for table in tables.values() if (found := table.get(key)) is not None), None)
        rows.append(Row(key, cells, None if lower is None or len(sets) > 1 else _best(cells, lower)))
    if len(sets) > 1:
        shown = "; ".join(", ".join(names) for names in sets.values())
        return rows, [
            f"the runs were measured on different held-out examples ({shown}): numbers do not compare, and none is marked"
        ]
    return rows, _disagreements(rows)


@dataclass(frozen=True)
class _Number:
    """A number of one run; `lower` says whether less is better, None where neither is."""

    value: float
    error: float | None
    lower: bool | None


def _numbers(result: Mapping[str, Any]) -> list[tuple[str, _Number]]:
    found: list[tuple[str, _Number]] = []
    n = result["test"]
    seeds = len(result["samples"]["seeds"]) if result.get("samples") else 1
    for name, each in (result["samples"]["extractors"] if result.get("samples") else {}).items():
        for metric in METRICS:
            number = each.get(metric)
            if number and number["value"] is not None:
                error = None if number["deviation"] is None else number["deviation"] / math.sqrt(seeds)
                lower = metric in LOWER_IS_BETTER
                # Density has no best: below 1 samples are rare among the data, above it they crowd in few places.
                found.append((f"{metric} by {name}", _Number(number["value"], error, None if metric == "density" else lower)))
    for level in result["levels"]:
        place = f"z_{level['level']}"
        found.append((f"{place} squared error", _Number(level["error"], None, True)))
        for key in ("accuracy", "probe"):
            if level.get(key) is not None:
                share = level[key]
                found.append((f"{place} {key}", _Number(share, math.sqrt(share * (1 - share) / n), False)))
        if level.get("share") is not None:
            found.append((f"{place} share", _Number(level["share"], None, None)))
    return found


def _cell(numbers: Sequence[_Number]) -> Cell | None:
    values = [number.value for number in numbers if number.value is not None and math.isfinite(number.value)]
    if not values:
        return None
    if len(values) > 1:
        return Cell(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))
    return Cell(values[0], numbers[0].error)


def _best(cells: Mapping[str, Cell | None], lower: bool) -> str | None:
    known = {group: cell for group, cell in cells.items() if cell is not None}
    if len(known) < 2 or any(cell.error is None for cell in known.values()):
        return None
    best = (min if lower else max)(known, key=lambda group: known[group].value)
    for group, cell in known.items():
        error = math.hypot(known[best].error or 0, cell.error or 0)
        if group != best and abs(cell.value - known[best].value) <= CLEAR * error:
            return None
    return best


def _disagreements(rows: Sequence[Row]) -> list[str]:
    """Says where Fréchet distances or KID by different extractors rank the groups differently."""
    warnings = []
    for metric in ("kid", "frechet"):
        orders: dict[tuple[str, ...], str] = {}
        for row in rows:
            if row.name.startswith(f"{metric} by ") and all(row.cells.values()):
                order = tuple(sorted(row.cells, key=lambda group: ((cell := row.cells[group]) and cell.value) or 0.0))
                orders.setdefault(order, row.name.removeprefix(f"{metric} by "))
        if len(orders) > 1:
            shown = "; ".join(f"{name}: {' < '.join(order)}" for order, name in orders.items())
            warnings.append(f"extractors disagree in rank on {metric}: {shown}")
    return warnings
