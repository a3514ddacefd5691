"""Shows a training's progress on stderr, and warns of dead levels."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from owae.training.loop import Fit, Step

logger = logging.getLogger(__name__)

# Below these a level no longer carries information, or its encoder has become a deterministic map (method of Rubenstein et al.
# 2018 against the latter: the log-variance regulariser). Stated once a level and run.
DEAD_SPREAD = 0.01
DETERMINISTIC_VARIANCE = 1e-6


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


def on_terminal() -> bool:
    """Tells whether stderr can show a moving bar."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Progress:
    """Shows a bar on a terminal, one plain line an epoch elsewhere; both on stderr."""

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
