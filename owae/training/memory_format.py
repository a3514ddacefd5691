"""Sets the memory format of images and filters: a GPU's convolutions are fastest with channels last."""

from __future__ import annotations

import torch
from torch import Tensor

from owae.model.stack import Stack


def use_channels_last(stack: Stack, name: str) -> bool:
    """Brings a stack's filters into a memory format, in place: "contiguous", "channels_last", or "auto", the latter on CUDA.

    Returns:
        Whether it is channels last; `channels_last` then brings batches into it.
    """
    if not (name == "channels_last" or (name == "auto" and stack.device.type == "cuda")):
        return False
    stack.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] # torch's stub lacks it
    return True


def channels_last(x: Tensor) -> Tensor:
    """Returns a batch of images in channels-last format, and anything else as it is."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def match_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Brings an optimiser's moments into the memory format of their parameters, which a fused step takes for granted."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
