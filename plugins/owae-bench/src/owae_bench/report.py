"""Prints and writes the rows: as a table, as JSON, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from owae_bench.bench import Row

HEADINGS = [
    "divergence",
    "n",
    "d",
    "forward ms",
    "±",
    "with backward ms",
    "±",
    "compile s",
    "peak MB",
    "value",
    "error",
    "gradient error",
]


def cells(row: Row) -> list[str]:
    """Formats the cells of a row under `HEADINGS`; blank where something is not known."""
    r = row.result
    return [
        row.case.label,
        str(row.n),
        str(row.d),
        _number(r.get("forward"), 1e3),
        _number(r.get("forward_spread"), 1e3),
        _number(r.get("both"), 1e3),
        _number(r.get("both_spread"), 1e3),
        _number(r.get("compile")),
        _number(r.get("peak_bytes"), 1e-6),
        _number(r.get("value"), digits=4),
        _number(r.get("value_error"), digits=2),
        _number(r.get("gradient_error"), digits=2),
    ]


def _number(value: float | None, unit: float = 1.0, *, digits: int = 3) -> str:
    return "" if value is None else f"{value * unit:.{digits}g}"


def print_rows(rows: Sequence[Row], where: dict[str, Any]) -> None:
    """Print the table and, under it, what failed and why."""
    import typer

    from owae.cli.tables import print_table

    measured = [row for row in rows if not row.reason]
    failed = [row for row in rows if row.reason]
    print_table(HEADINGS, map(cells, measured), right=HEADINGS[1:])
    typer.echo(
        f"{where['device_name']}, torch {where['torch']}, {where['threads']} threads, load {where['load'] or 'unknown'}. "
        "Medians and middle halves of warm calls; errors relative to float64, blank where the estimate is random or the "
        "reference too large."
    )
    for row in failed:
        typer.echo(f"not measured: {row.case.label}, n = {row.n}, d = {row.d}: {row.reason}")


def to_json(rows: Sequence[Row], where: dict[str, Any], failures: Sequence[str]) -> str:
    """Everything, as one JSON object; times in seconds. A number that is not finite is null."""
    record = {"where": where, "rows": [_finite(row.to_dict()) for row in rows], "plugins_not_loaded": list(failures)}
    return json.dumps(record, indent=2, allow_nan=False)


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows, one a line; times in seconds."""
    records = [row.to_dict() | {"options": json.dumps(row.to_dict()["options"])} for row in rows]
    fields = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue())


def write_plot(path: Path, rows: Sequence[Row], where: dict[str, Any]) -> None:
    """Draw the time of forward and backward over n, both logarithmic, one panel a dimension and one line a divergence."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = [row for row in rows if not row.reason]
    dims = sorted({row.d for row in measured}) or [0]
    sizes = sorted({row.n for row in measured})
    labels = list(dict.fromkeys(row.case.label for row in measured))
    figure = Figure(figsize=(1 + 5 * len(dims), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(dims), sharey=True, squeeze=False)[0]
    styles = ("o-", "s--", "^:", "D-.")
    for axis, d in zip(axes, dims, strict=True):
        for i, label in enumerate(labels):
            points = sorted((row.n, row.result["both"] * 1e3) for row in measured if (row.d, row.case.label) == (d, label))
            axis.plot(
                *zip(*points, strict=True) if points else ((), ()), styles[i // 10 % 4], color=f"C{i % 10}", label=label, ms=4
            )
        axis.set(xscale="log", yscale="log", xlabel="samples n", title=f"d = {d}")
        axis.set_xticks(sizes, list(map(str, sizes)))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("forward and backward, ms")
    figure.suptitle(f"{where['device_name']}, torch {where['torch']}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
