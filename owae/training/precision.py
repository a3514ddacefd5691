"""Scales the loss under float16, whose gradients vanish without it, by the GradScaler that Fabric's precision plugin holds."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning_fabric import Fabric

logger = logging.getLogger(__name__)

_FRUITLESS = 40  # halvings in a row of the scale: from 65,536 to where no gradient is left to overflow
_WORRYING = 5  # halvings in a row of which a warning tells; a training's first steps may take a few


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
