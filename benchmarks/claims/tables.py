"""The results as Markdown tables, mean ± standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Results = Mapping[str, Sequence[Mapping[str, Any]]]

REFITTED = ", encoders fitted after"
_LEVELS = {
    "error": ("squared error per image through z_1 … z_5", "{:.1f}"),
    "neighbours": ("10-NN accuracy of z_1 … z_5", "{:.2f}"),
    "probe": ("linear-probe accuracy of z_1 … z_5", "{:.2f}"),
    "variance": ("encoder variance, z_1 … z_5", "{:.2g}"),
    "spread": ("spread, z_1 … z_5", "{:.2g}"),
    "roughness": ("roughness of reconstructions through z_1 … z_5", "{:.3f}"),
}
_SINGLE = {
    "share": ("share of z_5", "{:.2f}"),
    "grid digits": ("digits in the grid", "{:.1f}"),
    "grid sure": ("sure digits in the grid", "{:.2f}"),
    "frechet": ("Fréchet", "{:.1f}"),
    "pixel mmd": ("MMD·10³", "{:.2f}"),
    "pixel sliced": ("sliced W·10³", "{:.2f}"),
    "match in deviations": ("match, s.d. from its floor", "{:+.1f}"),
    "seconds": ("s", "{:.0f}"),
}


def with_refitted(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    """The results, those with encoders fitted afterwards as a model of their own behind the model."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for name, runs in results.items():
        rows[name] = list(runs)
        refitted = [run["refitted"] for run in runs if "refitted" in run]
        if refitted:
            rows[name + REFITTED] = refitted
    return rows


def print_tables(results: Results, floor: Mapping[str, float]) -> None:
    rows = with_refitted(results)
    for key, (title, form) in _LEVELS.items():
        _table(
            title, ["model", *(f"z_{i}" for i in range(1, 6))], rows, lambda runs, key=key, form=form: _by_level(runs, key, form)
        )
        if key in floor:
            print(f"\nThe held-out digits themselves: {form.format(floor[key])}.")
    _table(
        "samples, the deepest level and the matched level",
        ["model", *(title for title, _ in _SINGLE.values())],
        rows,
        lambda runs: [_cell([run.get(key) for run in runs], form) for key, (_, form) in _SINGLE.items()],
    )
    floors = ", ".join(f"{_SINGLE[key][0]} {_SINGLE[key][1].format(value)}" for key, value in floor.items() if key in _SINGLE)
    print(f"\n1,000 training digits against the 1,000 held-out ones: {floors}.")
    print(f"The classifier is right on {floor['classifier']:.1%} of the held-out digits.")


def _table(
    title: str, heading: Sequence[str], rows: Results, cells: Callable[[Sequence[Mapping[str, Any]]], Iterable[str]]
) -> None:
    print(f"\n**{title[0].upper()}{title[1:]}**\n")
    print(f"| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    for name, runs in rows.items():
        print(f"| {name} | {' | '.join(cells(runs))} |")
    print(end="", flush=True)


def _by_level(runs: Sequence[Mapping[str, Any]], key: str, form: str) -> list[str]:
    return [_cell(values, form) for values in zip(*(run[key] for run in runs), strict=True)]


def _cell(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = form.format(statistics.fmean(known))
    return mean if len(known) == 1 else f"{mean} ± {form.replace('+', '').format(statistics.stdev(known))}"
