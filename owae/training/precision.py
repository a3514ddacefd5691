"""The precision that networks run in: float32, or half by autocast, with the loss scaled where half precision is float16's.

Costs, penalties and divergences are float32 whatever is chosen here: the stack switches autocast off around them. Autocast and
scaling are Lightning Fabric's, which is imported only where it is asked for.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from owae.errors import TrainingError

PrecisionName = Literal["32", "bf16-mixed", "16-mixed"]
_FRUITLESS = 40  # halvings in a row of the scale: from 65,536 to where no gradient is left to overflow


class Precision:
    """float32 throughout."""

    def context(self) -> AbstractContextManager[Any]:
        """The block that networks run in."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the gradients their own size."""

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.step()

    def overflowed(self) -> bool:
        """Whether a gradient that is not finite means but a scale too large, which is now smaller; the step is to be left out."""
        return False

    def drop(self) -> None:
        """Leave a step out after its gradients were unscaled."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`."""


class Mixed(Precision):
    """Half precision where autocast holds it to be safe."""

    def __init__(self, name: Literal["bf16-mixed", "16-mixed"], device: torch.device) -> None:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        from lightning_fabric.plugins.precision import MixedPrecision

        self._plugin = MixedPrecision(name, device.type)
        self._in_a_row = 0

    def context(self) -> AbstractContextManager[Any]:
        return self._plugin.forward_context()

    def backward(self, loss: Tensor) -> None:
        self._plugin.backward(loss, None)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        if self._plugin.scaler is not None:
            self._plugin.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self._in_a_row = 0
        self._plugin.optimizer_step(optimizer)

    def overflowed(self) -> bool:
        if self._plugin.scaler is None or self._in_a_row >= _FRUITLESS:
            return False
        self._in_a_row += 1
        self.drop()
        return True

    def drop(self) -> None:
        if self._plugin.scaler is not None:
            self._plugin.scaler.update()

    def state(self) -> dict[str, Any]:
        return {**self._plugin.state_dict(), "in_a_row": self._in_a_row}

    def restore(self, state: dict[str, Any]) -> None:
        scaler = dict(state)
        self._in_a_row = scaler.pop("in_a_row", 0)
        if scaler:
            self._plugin.load_state_dict(scaler)


def make_precision(name: str, device: torch.device) -> Precision:
    """The precision of that name on a device.

    Raises:
        TrainingError: There is none of that name, or not on this device.
    """
    if name == "32":
        return Precision()
    if name not in ("bf16-mixed", "16-mixed"):
        raise TrainingError(f"found precision '{name}'; '32', 'bf16-mixed' and '16-mixed' would work")
    if device.type == "cuda" and name == "bf16-mixed" and not torch.cuda.is_bf16_supported():
        raise TrainingError("this GPU has no bfloat16; precision '16-mixed' or '32' would work")
    return Mixed(name, device)
