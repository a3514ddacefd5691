"""Decides after which steps of a training a checkpoint is written, writes it, and goes on from the newest."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from owae.errors import TrainingError
from owae.run import checkpoint
from owae.run.best import BestMetric
from owae.run.signals import Interrupts
from owae.training.loop import Fit
from owae.training.step import Step

logger = logging.getLogger(__name__)


class Saving:
    """Saves a training in a folder: every so many steps, epochs or minutes, at a signal, at its end, and where it is best.

    Args:
        folder: Of the checkpoints.
        steps: The training.
        best: The metric whose best value has a checkpoint of its own, if one is watched.
        interrupts: The signals received.
        after: How many steps the training before this phase took.
    """

    def __init__(self, folder: Path, steps: Fit, best: BestMetric | None, interrupts: Interrupts, after: int) -> None:
        self._folder, self._steps, self._best, self._interrupts, self._after = folder, steps, best, interrupts, after
        self._main = steps.fabric.is_global_zero
        self._saved_at = time.monotonic()
        steps.signal = self._request

    def resume(self) -> list[Path]:
        """Goes on from the newest whole checkpoint, if there is one; returns the damaged ones that are newer."""
        damaged: list[Path] = []
        state = checkpoint.load_newest(self._folder, damaged=damaged)
        if state is None:
            return damaged
        if state.get("after", 0) != self._after:
            run = self._folder.parent
            raise TrainingError(
                f"{run} went on from step {state.get('after', 0)} of the training before it, which has now taken {self._after}: "
                f"move or delete {run}, and --resume trains it anew"
            )
        self._steps.restore(state)
        if self._main:
            checkpoint.put_in_order(self._folder, state, damaged)
        if self._best is not None:
            self._best.restore(state.get("best"), state.get("watches"))
        logger.info("going on after step %d of %d", self._steps.step, len(self._steps))
        return damaged

    def _request(self) -> int:
        """Returns twice the number of the signal received, and 1 more where it is time for a checkpoint: processes take the largest."""
        minutes = self._steps.options.checkpoint_minutes
        is_time = minutes is not None and self._main and time.monotonic() - self._saved_at >= 60 * minutes
        return 2 * (self._interrupts.received or 0) + is_time

    def asked(self, step: Step, *, ends: bool) -> tuple[bool, int | None]:
        """Returns whether a checkpoint is due after a step, and the signal that stops training there, if there is one."""
        options = self._steps.options
        # One process asks again, for what came during the step and its log.
        received, is_time = divmod(self._request() if self._steps.ranks == 1 else step.signal, 2)
        stopped = None if ends else received or None
        by_steps = options.checkpoint_steps is not None and step.step % options.checkpoint_steps == 0
        by_epochs = step.last and step.epoch % options.checkpoint_every == 0
        return bool(ends or stopped is not None or is_time or by_steps or by_epochs), stopped

    def save(self, *, due: bool, better: bool) -> None:
        """Writes a checkpoint where it is due, and the best one where the metric is better than ever; all processes call it."""
        if not (due or better):
            return
        state = self._steps.state() | {"after": self._after}
        state |= {} if self._best is None else {"best": self._best.state()}
        if better and self._main:
            checkpoint.save_best(self._folder, state)
        if due and self._main:
            checkpoint.save(self._folder, state, keep=self._steps.options.keep)
        if due:
            self._saved_at = time.monotonic()
