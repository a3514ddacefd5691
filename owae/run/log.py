"""Logs the steps of a training: metrics, warnings and progress, and hands them to the observers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from owae.config.build import Built
from owae.config.config import Config
from owae.evaluation.noise_floor import NoiseFloor, noise_floor
from owae.files import json_ready
from owae.interfaces import Observer
from owae.run.folder import METRICS, jsonable, writing
from owae.run.metrics import Metrics
from owae.run.observers import Observers, Training
from owae.run.progress import Health, Progress
from owae.training.loop import Fit, Step

logger = logging.getLogger(__name__)


class Log:
    """Logs the steps of one training. See `open_log`."""

    def __init__(
        self, folder: Path, config: Config, steps: Fit, metrics: Metrics, progress: Progress, observers: Observers
    ) -> None:
        self._folder, self._options, self._steps = folder, config.train, steps
        self._metrics, self._progress, self._observers = metrics, progress, observers
        self._health = Health()

    def step(self, step: Step, validated: Mapping[str, float]) -> None:
        """Logs a step, if its turn has come, with the results of a validation, if there was one, and shows the progress."""
        if step.step % self._options.log_every == 0 or step.last or step.step == 1:
            skipped = {"skipped": self._steps.skipped} if self._options.skip_bad_steps else {}
            with writing(self._folder):
                values = self._metrics.write(self._steps, step, {**validated, **skipped})
            self._health.look(values)
            self._observers.values(json_ready(values))
        self._progress.tick(step, self._metrics.latest)

    def epoch_ended(self, step: Step, *, last: bool) -> None:
        """Tells the observers that the epoch of a step has ended, and whether training ends with it."""
        self._observers.epoch_ended(step.epoch, step.step, last=last)


@contextmanager
def open_log(folder: Path, config: Config, built: Built, steps: Fit, observers: list[type[Observer]]) -> Iterator[Log]:
    """Runs the block with the log of a training open, its observers and its progress on stderr.

    Raises:
        TrainingError: An observer cannot be opened.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)  # that of a further phase
    metrics = Metrics(folder / METRICS, steps.step, _floor(built, config.train.batch_size))
    training = Training(folder, built.stack, built.test, config.train, jsonable(config), steps.step, steps.averaged)
    with closing(Observers(observers, training)) as watching, Progress(steps).shown() as progress:
        yield Log(folder, config, steps, metrics, progress, watching)


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
