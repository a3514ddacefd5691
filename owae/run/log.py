"""Logs the steps of a training: a line of `metrics.jsonl`, warnings, progress on stderr, and calls of the observers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from owae.config.build import Built
from owae.config.config import Config
from owae.files import json_ready
from owae.interfaces import Observer
from owae.model.noise_floor import NoiseFloor, noise_floor
from owae.run.folder import METRICS, writing
from owae.run.metrics import Metrics
from owae.run.observers import Observers, Training
from owae.streams import on_terminal
from owae.training.loop import Fit, Step

logger = logging.getLogger(__name__)

# Below these a level no longer carries information, or its encoder has become a deterministic map (method of Rubenstein et al.
# 2018 against the latter: the log-variance regulariser). Stated once a level and run.
DEAD_SPREAD = 0.01
DETERMINISTIC_VARIANCE = 1e-6

Show = Callable[[str, str], None]  # takes the epoch and a summary


class Log:
    """Logs the steps of one training. See `open_log`."""

    def __init__(self, folder: Path, steps: Fit, metrics: Metrics, observers: Observers, show: Show | None) -> None:
        self._folder, self._steps = folder, steps
        self._metrics, self._observers, self._show = metrics, observers, show
        self._warned: set[str] = set()
        self._begun_at, self._started = steps.step, time.monotonic()

    def step(self, step: Step, validated: Mapping[str, float]) -> None:
        """Logs a step, if its turn has come, with the results of a validation, if there was one, and shows the progress."""
        if step.step % self._steps.options.log_every == 0 or step.last or step.step == 1:
            with writing(self._folder):
                values = self._metrics.write(self._steps, step, {**validated, **self._steps.tally.left_out()})
            self._warn_of_dead_levels(values)
            self._observers.values(json_ready(values))
        epoch, summary = f"epoch {step.epoch}/{self._steps.epochs}", _summary(self._metrics.latest)
        if self._show is not None:
            self._show(epoch, summary)
        elif step.last:
            seconds = time.monotonic() - self._started
            rate = (self._steps.step - self._begun_at) / max(seconds, 1e-9)
            logger.info("%s  %s  %.0f s, %.1f steps/s", epoch, summary, seconds, rate)

    def epoch_ended(self, step: Step, *, last: bool) -> None:
        """Tells the observers that the epoch of a step has ended, and whether training ends with it."""
        self._observers.epoch_ended(step.epoch, step.step, last=last)

    def _warn_of_dead_levels(self, values: Mapping[str, Any]) -> None:
        """Warns, once a level, when its codes no longer vary or its encoder has lost its noise."""
        for key, value in values.items():
            kind, _, level = key.partition("/")
            if key in self._warned or not isinstance(value, float):
                continue
            if kind == "spread" and value < DEAD_SPREAD:
                text = f"level {level} is dying: the standard deviation of z_{level} is {value:.2g}"
            elif kind == "variance" and value < DETERMINISTIC_VARIANCE:
                text = f"the encoder of level {level} is turning deterministic: its mean variance is {value:.2g}"
            else:
                continue
            self._warned.add(key)
            logger.warning("epoch %s, step %s: %s", values["epoch"], values["step"], text)


@contextmanager
def open_log(folder: Path, config: Config, built: Built, steps: Fit, observers: list[type[Observer]]) -> Iterator[Log]:
    """Runs the block with the log of a training open, its observers and its progress on stderr.

    Raises:
        TrainingError: An observer cannot be opened, or the folder cannot be written.
    """
    floor = _floor(built, config.train.batch_size)
    with writing(folder):
        folder.mkdir(exist_ok=True)  # that of a further phase
        metrics = Metrics(folder / METRICS, steps.step, floor)
    training = Training(folder, built.stack, built.test, config.train, config.to_dict(), steps.step, steps.averaged)
    with closing(Observers()) as watching:
        for cls in observers:
            watching.open(cls, training)
        with _progress(steps) as show:
            yield Log(folder, steps, metrics, watching, show)


def _floor(built: Built, batch_size: int) -> NoiseFloor | None:
    """Logs and returns the divergence's noise floor; None for an ancestral prior, which training moves."""
    stack = built.stack
    meaning = ", ".join(f"{key} {value}" for key, value in stack.divergence.describe(stack.matched_prior.shape).items())
    if stack.matched_level < stack.depth:
        logger.info("%s", meaning)
        return None
    floor = noise_floor(stack.divergence, stack.prior, min(batch_size, len(built.train)))
    logger.info("%s; between equal distributions, n = %d: %s", meaning, floor.n, floor)
    return floor


@contextmanager
def _progress(fit: Fit) -> Iterator[Show | None]:
    """Shows a bar on a terminal and yields the function that moves it; None elsewhere, where the log has a line an epoch."""
    if not on_terminal():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    bar = Progress(texts[0], BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), texts[1], console=Console(stderr=True))
    task = bar.add_task("training", total=len(fit), completed=fit.step, note="")
    bar.start()
    try:
        yield lambda epoch, summary: bar.update(task, completed=fit.step, description=epoch, note=summary)
    finally:
        with suppress(OSError):  # the terminal may be gone
            bar.stop()


def _summary(latest: Mapping[str, Any]) -> str:
    """Words the latest logged step: its costs and its divergence."""
    costs = " ".join(f"{value:.3g}" for key, value in latest.items() if key.startswith("cost/") and value is not None)
    divergence = latest.get("divergence")
    return f"costs {costs}  divergence {'-' if divergence is None else format(divergence, '.2g')}" if latest else ""
