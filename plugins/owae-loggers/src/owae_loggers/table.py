"""`metrics.csv`: the logged steps as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from owae.files import write_durably
from owae.interfaces import Observer
from owae.run.folder import METRICS, writing
from owae.run.metrics import read_metrics
from owae.run.observers import Training


class Csv(Observer):
    """`metrics.csv`: the lines of `metrics.jsonl` as a table. Whole lines only; an empty cell where a number is not finite.

    Opened, it is written anew from the lines that the run keeps, so what an interrupted run wrote in it is never gone on from.
    """

    name = "csv"
    always = True

    def __init__(self, training: Training, /) -> None:
        metrics = training.folder / METRICS
        lines = read_metrics(metrics) if metrics.exists() else []
        self.path = metrics.with_suffix(".csv")
        self._keys = list(dict.fromkeys(key for line in lines for key in line))
        with writing(training.folder):
            write_durably(self.path, self._text(lines, header=True) if lines else "")

    def values(self, values: Mapping[str, float | None]) -> None:
        new = [key for key in values if key not in self._keys]
        with writing(self.path.parent):
            if new:
                with self.path.open(newline="") as file:
                    earlier = list(csv.DictReader(file))
                self._keys += new
                write_durably(self.path, self._text([*earlier, values], header=True))
            else:
                with self.path.open("a", newline="") as file:
                    file.write(self._text([values]))

    def _text(self, lines: Iterable[Mapping[str, Any]], *, header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._keys, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()
