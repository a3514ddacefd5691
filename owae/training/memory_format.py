"""How images and filters lie in memory: channels last is what a GPU's convolutions are fastest with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from owae.errors import TrainingError
from owae.model.stack import Stack


def laid_out(stack: Stack, name: str) -> tuple[Stack, Callable[[Tensor], Tensor]]:
    """The stack, its filters laid out in place, and what lays a batch out as they are. "auto" is channels last on CUDA.

    Raises:
        TrainingError: There is no such format.
    """
    if name not in ("auto", "contiguous", "channels_last"):
        raise TrainingError(f"found memory_format '{name}'; 'auto', 'contiguous' and 'channels_last' would work")
    last = name == "channels_last" or (name == "auto" and stack.prior.anchor.device.type == "cuda")
    if not last:
        return stack, _as_it_is
    return stack.to(memory_format=torch.channels_last), _channels_last  # pyright: ignore[reportCallIssue] # torch's stub lacks it


def match(optimizer: torch.optim.Optimizer) -> None:
    """Lay an optimiser's moments out as their parameters are, which a fused step takes for granted."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
