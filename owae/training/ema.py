"""Keeps a moving average of the parameters, which evaluation uses in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from owae.errors import TrainingError
from owae.model.stack import Stack


class Average:
    """Updates `a ← d·a + (1 − d)·θ` after every optimiser step, with `d = min(decay, (1 + t) / (10 + t))` at step t.

    The ramp keeps the initial parameters out of the average of a short training. Buffers, batch norm's statistics among them, are
    not averaged: evaluation uses the newest. A `decay` of 0.999 averages over about the last 1000 steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._averages = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self._averages.values()), list(self._parameters.values()), 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Runs the block with the averages as the model's parameters."""
        kept = {name: p.detach().clone() for name, p in self._parameters.items()}
        _copy(self._averages, self._parameters)
        try:
            yield
        finally:
            _copy(kept, self._parameters)

    def state(self) -> dict[str, object]:
        return {"steps": self.steps, "parameters": self._averages}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state()`; `KeyError` if it lacks a parameter."""
        _copy(state["parameters"], self._averages)
        self.steps = state["steps"]


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])


def load_model(stack: Stack, saved: dict[str, Any], *, averaged: bool = False) -> None:
    """Puts the parameters of a training state into a stack; where `averaged`, their moving average, if the state has one.

    Raises:
        TrainingError: A tensor is missing, has another shape or is not the stack's; the message names it.
    """
    average = (saved.get("average") or {}).get("parameters", {}) if averaged else {}
    try:
        stack.load_state_dict({**saved["model"], **average})
    except (RuntimeError, KeyError) as error:
        raise TrainingError(f"the checkpoint does not fit the model: {error}") from error
