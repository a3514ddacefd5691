"""What a run writes while it trains: the metrics file, the pictures, the progress on stderr, the warnings about dead levels."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owae import pictures
from owae.data.sources import examples
from owae.evaluation.noise_floor import NoiseFloor
from owae.files import json_ready, write_durably
from owae.interfaces import DataSource
from owae.model.stack import Stack
from owae.training.loop import Fit, Step

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

# Below these a level no longer carries information, or its encoder has become a deterministic map (method of Rubenstein et al.
# 2018 against the latter: the log-variance regulariser). Stated once a level and run.
DEAD_SPREAD = 0.01
DETERMINISTIC_VARIANCE = 1e-6


class Metrics:
    """`metrics.jsonl`: one JSON object a line, whole lines only, the same bytes for the same training.

    Each line has `epoch`, `step`, `lr`, the terms of the objective, the divergence's noise floor (its mean and standard deviation
    between equal distributions at this batch size), and per level the spread of its codes, the variance of its encoder and the
    norm of its gradient. A number that is not finite is written as null, for JSON has no NaN.
    """

    def __init__(self, path: Path, step: int, floor: NoiseFloor | None = None) -> None:
        """Open to append; lines after `step`, which an interrupted run may have written before it was killed, are removed."""
        self.path = path
        self.floor = {} if floor is None else {"divergence_floor": floor.mean, "divergence_floor_sd": floor.deviation}
        self.latest: dict[str, Any] = {}
        if path.exists():
            kept = [line for line in read_metrics(path) if line["step"] <= step]
            self.latest = kept[-1] if kept else {}
            write_durably(path, "".join(_line(line) for line in kept))

    def write(self, fit: Fit, step: Step, more: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Add the line of a step, with further numbers if there are any, as those of a validation."""
        values = step.objective.scalars() | fit.gradient_norms(step) | dict(more or {})
        self.latest = {"epoch": step.epoch, "step": step.step, "lr": step.lr} | values | self.floor
        with self.path.open("a") as file:
            file.write(_line(self.latest))
        return self.latest


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; a last line that was cut off is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _line(values: dict[str, Any]) -> str:
    return json.dumps(json_ready(values), allow_nan=False) + "\n"


class Health:
    """Warns, once a level, when its codes no longer vary or its encoder has lost its noise."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def look(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            kind, _, level = key.partition("/")
            if key in self._said or not isinstance(value, float):
                continue
            if kind == "spread" and value < DEAD_SPREAD:
                self._say(key, f"level {level} is dying: the standard deviation of z_{level} is {value:.2g}", values)
            elif kind == "variance" and value < DETERMINISTIC_VARIANCE:
                self._say(key, f"the encoder of level {level} is turning deterministic: its mean variance is {value:.2g}", values)

    def _say(self, key: str, message: str, values: dict[str, Any]) -> None:
        self._said.add(key)
        logger.warning("epoch %s, step %s: %s", values["epoch"], values["step"], message)


class Pictures:
    """Samples and layer-wise reconstructions of held-out examples, drawn with the same noise each time."""

    def __init__(self, folder: Path, stack: Stack, test: DataSource, seed: int) -> None:
        self.folder, self.stack, self.test, self.seed = folder, stack, test, seed
        self.indices = pictures.representative(10, len(test), test.labels, seed)
        self.wanted = pictures.drawable(tuple(test.shape))
        if not self.wanted:
            logger.info("examples of shape %s are not images, so no pictures are drawn", tuple(test.shape))

    def draw(self, epoch: int) -> dict[str, Image]:
        """Save the pictures of an epoch; by name, "samples" and "reconstructions", what was saved."""
        if not self.wanted:
            return {}
        value_range = self.test.value_range
        drawn = {"samples": pictures.samples(self.stack, 64, value_range, seed=self.seed)}
        if len(self.indices):
            drawn["reconstructions"] = pictures.layerwise(self.stack, examples(self.test, self.indices), value_range)
        for name, image in drawn.items():
            pictures.save(image, self.folder / f"{name}-epoch-{epoch:05d}.png")
        return drawn


def on_terminal() -> bool:
    """Whether stderr can show a moving bar."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Progress:
    """A bar on a terminal, one plain line an epoch elsewhere; both on stderr."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.started = time.monotonic()
        self.begun_at = fit.step
        self._advance: Any = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        if not on_terminal():
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("training", total=len(self.fit), completed=self.fit.step, note="")
            self._advance = lambda **fields: bar.update(task, completed=self.fit.step, **fields)
            yield self
            self._advance = None

    def tick(self, step: Step, latest: dict[str, Any]) -> None:
        if self._advance is not None:
            self._advance(description=f"epoch {step.epoch}/{self.fit.epochs}", note=_summary(latest))
        elif step.last:
            seconds = time.monotonic() - self.started
            rate = (self.fit.step - self.begun_at) / max(seconds, 1e-9)
            logger.info("epoch %d/%d  %s  %.0f s, %.1f steps/s", step.epoch, self.fit.epochs, _summary(latest), seconds, rate)


def _summary(latest: dict[str, Any]) -> str:
    costs = " ".join(f"{value:.3g}" for key, value in latest.items() if key.startswith("cost/") and value is not None)
    divergence = latest.get("divergence")
    return f"costs {costs}  divergence {'-' if divergence is None else format(divergence, '.2g')}" if latest else ""
