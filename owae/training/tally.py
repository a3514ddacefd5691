"""Counts the steps of a training (taken, skipped or dropped), and scales the loss under float16, for which steps are dropped."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning_fabric import Fabric

from owae.errors import StepError

logger = logging.getLogger(__name__)

_FRUITLESS = 40  # halvings in a row of the scale: from 65,536 to where no gradient is left to overflow
_WORRYING = 5  # halvings in a row of which a warning tells; a training's first steps may take a few


class Tally:
    """Counts the steps of a training, of which `allowed` in a row may be skipped, and some dropped where `float16` is used.

    Attributes:
        taken: Steps that trained something: with a rate and a gradient above 0.
        skipped: Steps left out, for something in them was not finite.
        dropped: Steps left out, for the loss was scaled too far up for float16.
        bad_in_a_row: Those skipped since the last one that the optimiser took.
    """

    def __init__(self, allowed: int = 0, *, float16: bool = False) -> None:
        self._allowed, self._float16 = allowed, float16
        self.taken = self.skipped = self.dropped = self.bad_in_a_row = 0
        self._said: set[str] = set()

    def take(self, where: str, *, futile: str = "") -> None:
        """Counts a step of the optimiser; `futile` says why it trains nothing, if it does not, which is logged once."""
        self.bad_in_a_row = 0
        if not futile:
            self.taken += 1
        elif futile not in self._said:
            self._said.add(futile)
            logger.warning("%s: %s, so this step trains nothing; said once", where, futile)

    def skip(self, fault: StepError) -> None:
        """Counts a step that is left out for a fault; raises the fault where as many as are allowed in a row were before it."""
        if self.bad_in_a_row >= self._allowed:
            raise fault
        self.bad_in_a_row += 1
        self.skipped += 1
        logger.warning("%s; this step is left out, %d in a row, %d in all", fault, self.bad_in_a_row, self.skipped)

    def left_out(self) -> dict[str, int]:
        """Returns the steps left out so far, for the log: `skipped` where that is allowed, `dropped` under float16."""
        return ({"skipped": self.skipped} if self._allowed else {}) | ({"dropped": self.dropped} if self._float16 else {})

    def conclude(self, steps: int, *, unmoved: bool = False) -> None:
        """Warns at the end of a training which share of its steps was left out.

        Raises:
            StepError: No step has trained anything: the parameters are the initial ones, but for weight decay; or all steps have left them
                as they were (`unmoved`).
        """
        if not self.taken:
            raise StepError(
                f"none of {steps} steps has trained anything: {self.skipped} were skipped, for something was not finite, "
                f"{self.dropped} dropped, for float16 overflowed, and the rest had a rate or gradient of 0; the warnings say where. "
                'Data without NaN or on a smaller scale, precision = "bf16-mixed" or another schedule may help'
            )
        if unmoved:
            raise StepError(
                f"{steps} steps have moved no parameter: each was smaller than the last digit of what it was added to. A larger learning "
                "rate or clip_gradients, or a shorter warmup, would help"
            )
        if left := self.skipped + self.dropped:
            why = f"{self.skipped} skipped (not finite), {self.dropped} dropped (float16 overflowed)"
            logger.warning("%d of %d steps (%.2g%%) were left out: %s", left, steps, 100 * left / steps, why)

    def state(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state()`; of version 0.1.0, which counted the skipped ones alone, too."""
        for name in self.state():
            setattr(self, name, state.get(name, 0))
        if "taken" not in state:
            self.taken = state["step"] - self.skipped


class LossScale:
    """Tells a gradient that overflowed because of the scale from one that is not finite; without float16 it does nothing."""

    def __init__(self, fabric: Fabric) -> None:
        self._precision = fabric.strategy.precision
        self.in_a_row = 0  # steps dropped since the last one that was taken

    @property
    def scaler(self) -> Any:
        """The GradScaler, or None."""
        return getattr(self._precision, "scaler", None)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives the gradients their own size."""
        if self.scaler is not None:  # Fabric's own way refuses optimisers with a fused step
            self.scaler.unscale_(optimizer)

    def overflowed(self, where: str) -> bool:
        """Tells whether a gradient overflowed only because of the scale, which is now smaller; the step is to be dropped."""
        if self.scaler is None or self.in_a_row >= _FRUITLESS:
            return False
        self.drop()
        self.in_a_row += 1
        if self.in_a_row == _WORRYING:
            logger.warning(
                "%s: dropped as the %d before it, for a gradient overflows float16 even with the loss scaled by %g; "
                'precision = "bf16-mixed" or "32", or data and weights on a smaller scale, would help',
                where,
                _WORRYING - 1,
                self.scaler.get_scale(),
            )
        return True

    def drop(self) -> None:
        """Leaves a step out after its gradients were unscaled."""
        if self.scaler is not None:
            self.scaler.update()

    def state(self) -> dict[str, Any]:
        return {} if self.scaler is None else {**self._precision.state_dict(), "in_a_row": self.in_a_row}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state()`."""
        scaler = dict(state)
        self.in_a_row = scaler.pop("in_a_row", 0)
        if scaler:
            self._precision.load_state_dict(scaler)
