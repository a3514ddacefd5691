"""Runs encoders and decoders in training (as they are, compiled, or without keeping activations) and sets their memory format.

A GPU's convolutions are fastest with channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from owae.compilation import compiled
from owae.distributions import Distribution
from owae.interfaces import LatentLayer
from owae.model.context import Context
from owae.model.stack import Stack

Compile = Literal["auto"] | bool
Function = Callable[[Tensor], Distribution]


def training_context(stack: Stack, *, compile: Compile = False, checkpoint: bool = False) -> Context:
    """Makes the context that training hands to a stack's forward pass. The modules stay as they are.

    `compile` is whether torch.compile translates encoders and decoders; "auto" does so on a GPU, and falls back with a warning.
    `checkpoint` is whether a level's activations are computed again in the backward pass instead of kept: memory for time.
    """
    compiling = compile is True or (compile == "auto" and stack.device.type == "cuda")
    if not compiling and not checkpoint:
        return Context(check=False)
    if compiling:
        import torch._dynamo

        # All levels of one class share a function, which is translated for several sizes a level.
        config: Any = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, 8 * stack.depth)

    def run(layer: LatentLayer, function: Function) -> Function:
        if compiling:
            function = compiled(function, must=compile is True)
        return _checkpointed(function, layer) if checkpoint else function

    encoders = {layer: run(layer, layer.encode) for layer in stack.layers}
    decoders = {layer: run(layer, layer.decode) for layer in stack.layers}
    return Context(encode=lambda layer, x: encoders[layer](x), decode=lambda layer, z: decoders[layer](z), check=False)


def _checkpointed(function: Function, layer: LatentLayer) -> Function:
    from torch.utils.checkpoint import checkpoint

    norms = [module for module in layer.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]

    @contextmanager
    def statistics_kept() -> Iterator[None]:
        # When activations are computed again, running statistics have seen this batch already.
        kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:
            for norm, momentum, count in kept:
                norm.momentum, norm.num_batches_tracked = momentum, count

    def run(z: Tensor) -> Distribution:
        if not torch.is_grad_enabled():
            return function(z)
        return checkpoint(function, z, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_kept()))  # pyright: ignore[reportReturnType]

    return run


def use_channels_last(stack: Stack, name: str) -> bool:
    """Brings a stack's filters into channels last where a memory format of that name asks for it; returns whether it did."""
    if not (name == "channels_last" or (name == "auto" and stack.device.type == "cuda")):
        return False
    stack.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] # torch's stub lacks it
    return True


def channels_last(x: Tensor) -> Tensor:
    """Returns a batch of images in channels-last format, and anything else as it is."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
