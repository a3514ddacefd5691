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

    Attributes:
        newest: The checkpoint that the training went on from, if there was one.
    """

    def __init__(self, folder: Path, steps: Fit, best: BestMetric | None, interrupts: Interrupts, after: int) -> None:
        self.steps, self.best = steps, best
        self.newest: Path | None = None
        self._folder, self._interrupts, self._after = folder, interrupts, after
        self._saved_at = time.monotonic()
        steps.signal = self._asks

    @property
    def complete(self) -> bool:
        """Whether training ends here: all steps are taken, or too many validations in a row were no better than the best."""
        return self.steps.step >= len(self.steps) or (self.best is not None and self.best.done)

    def resume(self) -> None:
        """Goes on from the newest whole checkpoint, if there is one; no file is touched."""
        newest = checkpoint.load_newest(self._folder)
        if newest is None:
            return
        self.newest, state = newest
        if state.get("after", 0) != self._after:
            run = self._folder.parent
            raise TrainingError(
                f"{run} went on from step {state.get('after', 0)} of the training before it, which has now taken {self._after}: "
                f"move or delete {run}, and --resume trains it anew"
            )
        self.steps.restore(state)
        if self.best is not None:
            self.best.restore(state.get("best"), state.get("watches"))
        logger.info("going on after step %d of %d", self.steps.step, len(self.steps))

    def _asks(self) -> int:
        """Returns what this process asks for: twice the number of the signal that it has received, and 1 more for a checkpoint by time.

        All processes follow the largest (`Step.signal`), so that they stop or save after the same step.
        """
        minutes, main = self.steps.options.checkpoint_minutes, self.steps.fabric.is_global_zero
        is_time = minutes is not None and main and time.monotonic() - self._saved_at >= 60 * minutes
        return 2 * (self._interrupts.received or 0) + is_time

    def due(self, step: Step) -> tuple[bool, int | None]:
        """Returns whether a checkpoint is due after a step, and the signal that stops training there, if there is one."""
        options = self.steps.options
        # One process asks again, for what came during the step and its log.
        received, is_time = divmod(self._asks() if self.steps.ranks == 1 else step.signal, 2)
        stopped = None if self.complete else received or None
        by_steps = options.checkpoint_steps is not None and step.step % options.checkpoint_steps == 0
        by_epochs = step.last and step.epoch % options.checkpoint_every == 0
        return bool(self.complete or stopped is not None or is_time or by_steps or by_epochs), stopped

    def save(self, *, due: bool, better: bool) -> None:
        """Writes a checkpoint where it is due, and the best one where the metric is better than ever; all processes call it."""
        if not (due or better):
            return
        state = self.steps.state() | {"after": self._after}
        state |= {} if self.best is None else {"best": self.best.state()}
        if self.steps.fabric.is_global_zero:
            if better:
                checkpoint.save_best(self._folder, state)
            if due:
                checkpoint.save(self._folder, state, keep=self.steps.options.keep)
        if due:
            self._saved_at = time.monotonic()
