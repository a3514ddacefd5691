"""Runs the encoders and decoders of a stack in training: as they are, compiled, or without keeping activations."""

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

    Args:
        stack: Whose networks they are.
        compile: Whether torch.compile translates them; "auto" on a GPU, and there falls back with a warning.
        checkpoint: Whether a level's activations are computed again in the backward pass instead of kept: memory for time.
    """
    compiling = compile is True or (compile == "auto" and stack.device.type == "cuda")
    if not compiling and not checkpoint:
        return Context(check=False)
    if compiling:
        _make_room(stack.depth)

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
    def again() -> Iterator[None]:
        # Their running statistics have seen this batch already.
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
        return checkpoint(function, z, use_reentrant=False, context_fn=lambda: (nullcontext(), again()))  # pyright: ignore[reportReturnType]

    return run


def _make_room(depth: int) -> None:
    """Lets torch.compile keep translations for all levels: those of one class share one function, each for several sizes."""
    import torch._dynamo

    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, 8 * depth)
