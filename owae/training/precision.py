"""Scales the loss under float16, whose gradients vanish without it, by the GradScaler that Fabric's precision plugin holds."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric

_FRUITLESS = 40  # halvings in a row of the scale: from 65,536 to where no gradient is left to overflow


class LossScale:
    """Tells a gradient that overflowed because of the scale from one that is not finite; without float16 it does nothing."""

    def __init__(self, fabric: Fabric) -> None:
        self._precision = fabric.strategy.precision
        self._in_a_row = 0

    @property
    def _scaler(self) -> Any:
        return getattr(self._precision, "scaler", None)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives the gradients their own size."""
        if self._scaler is not None:  # Fabric's own way refuses optimisers with a fused step
            self._scaler.unscale_(optimizer)

    def stepped(self) -> None:
        """Counts a step that was taken."""
        self._in_a_row = 0

    def overflowed(self) -> bool:
        """Whether a gradient that is not finite means but a scale too large, which is now smaller; the step is to be left out."""
        if self._scaler is None or self._in_a_row >= _FRUITLESS:
            return False
        self._in_a_row += 1
        self.drop()
        return True

    def drop(self) -> None:
        """Leaves a step out after its gradients were unscaled."""
        if self._scaler is not None:
            self._scaler.update()

    def state(self) -> dict[str, Any]:
        return {} if self._scaler is None else {**self._precision.state_dict(), "in_a_row": self._in_a_row}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state()`."""
        scaler = dict(state)
        self._in_a_row = scaler.pop("in_a_row", 0)
        if scaler:
            self._precision.load_state_dict(scaler)
