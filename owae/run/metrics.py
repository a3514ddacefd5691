"""Writes and reads `metrics.jsonl`: what a run logs of its steps."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owae.files import json_ready, write_durably
from owae.model.noise_floor import NoiseFloor

if TYPE_CHECKING:  # who reads metrics need not wait for what trains
    from owae.training.loop import Fit, Step


class Metrics:
    """Writes `metrics.jsonl`: one JSON object a line, whole lines only, the same bytes for the same training.

    Each line has `epoch`, `step`, `lr`, the terms of the objective, the divergence's noise floor (its mean and standard deviation
    between equal distributions at this batch size), and per level the spread of its codes, the variance of its encoder and the
    norm of its gradient. A number that is not finite is written as null, for JSON has no NaN.
    """

    def __init__(self, path: Path, step: int, floor: NoiseFloor | None = None) -> None:
        """Opens the file to append; lines after `step`, which an interrupted run may have written before it was killed, are removed."""
        self.path = path
        self.floor = {} if floor is None else {"divergence_floor": floor.mean, "divergence_floor_sd": floor.deviation}
        self.latest: dict[str, Any] = {}
        if path.exists():
            kept = [line for line in read_metrics(path) if line["step"] <= step]
            self.latest = kept[-1] if kept else {}
            write_durably(path, "".join(_line(line) for line in kept))

    def write(self, fit: Fit, step: Step, more: Mapping[str, float]) -> dict[str, Any]:
        """Adds the line of a step, with further numbers, as those of a validation."""
        values = step.objective.scalars() | fit.gradient_norms(step) | dict(more)
        self.latest = {"epoch": step.epoch, "step": step.step, "lr": step.lr} | values | self.floor
        with self.path.open("a") as file:
            file.write(_line(self.latest))
        return self.latest


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the whole lines of a metrics file; one that was cut off or damaged is left out."""
    lines = []
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            read = json.loads(line)
            if isinstance(read, dict) and isinstance(read.get("step"), int):
                lines.append(read)
    return lines


def _line(values: dict[str, Any]) -> str:
    """Returns the values as a line of the file."""
    return json.dumps(json_ready(values), allow_nan=False) + "\n"
