"""How the encoders and decoders of a stack are run in training: compiled, without keeping activations, on a share of the rows.

They are replaced for the duration of an evaluation only. So the stack's modules, and the names in its checkpoints, stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from owae.distributions import Distribution
from owae.errors import TrainingError
from owae.interfaces import LatentLayer
from owae.model.stack import Stack

logger = logging.getLogger(__name__)

Compile = Literal["auto"] | bool
Function = Callable[[Tensor], Distribution]
_DIRECTIONS = ("encode", "decode")


class Networks:
    """The encoders and decoders of a stack, as training runs them.

    Args:
        stack: Whose they are.
        compile: Whether torch.compile translates them; "auto" on a GPU, and there falls back with a warning.
        checkpoint: Whether a level's activations are computed again in the backward pass instead of kept: memory for time.
    """

    def __init__(self, stack: Stack, *, compile: Compile = False, checkpoint: bool = False) -> None:
        device = stack.prior.anchor.device.type
        if compile is True or (compile == "auto" and device == "cuda"):
            _make_room(stack.depth)
        self._functions: list[tuple[LatentLayer, str, Function]] = []
        for layer in stack.layers:
            for direction in _DIRECTIONS:
                function: Function = getattr(layer, direction)
                if compile is True or (compile == "auto" and device == "cuda"):
                    function = _Compiled(function, must=compile is True)
                if checkpoint:
                    function = _checkpointed(function, layer)
                self._functions.append((layer, direction, function))
        self._changed = checkpoint or compile is True or (compile == "auto" and device == "cuda")

    def running(self, around: Callable[[Function], Function] | None = None) -> AbstractContextManager[None]:
        """A block in which the stack runs them so, each within `around` if that is given."""
        return self._running(around) if self._changed or around is not None else nullcontext()

    @contextmanager
    def _running(self, around: Callable[[Function], Function] | None) -> Iterator[None]:
        try:
            for layer, direction, function in self._functions:
                setattr(layer, direction, around(function) if around is not None else function)
            yield
        finally:
            for layer, direction, _ in self._functions:
                vars(layer).pop(direction, None)  # the class's own method shows again


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


class _Compiled:
    def __init__(self, function: Function, *, must: bool) -> None:
        self._plain, self._must = function, must
        self._function: Any = torch.compile(function)

    def __call__(self, z: Tensor) -> Distribution:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._function(z)
        except TorchDynamoException as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            if self._must:
                raise TrainingError(f"torch.compile failed ({reason}); compile = false would work") from error
            logger.warning("torch.compile failed (%s); going on without", reason)
            self._function = self._plain
            return self._plain(z)


def _make_room(depth: int) -> None:
    """All levels of one class share one function, and each needs translations of its own: for training, evaluation, sizes."""
    import torch._dynamo

    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, 8 * depth)
