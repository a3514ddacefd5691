"""Results on stdout: tables, drawn on a terminal and in aligned columns elsewhere, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 1000  # a pipe has no width, and no column should be cut to an assumed one


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Prints a table; the columns named in `right` are aligned to the right."""
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for heading in headings:
        table.add_column(Text(heading), justify="right" if heading in set(right) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if console.is_terminal:
        console.print(table)
        return
    console.width = _PIPED_WIDTH
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def print_json(value: Any) -> None:
    """Prints a value as JSON; a number that is not finite is a `ValueError`, for JSON has none."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
