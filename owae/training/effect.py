"""Tells whether training can change a stack's parameters, before the first step, and whether it does, at each step and at the end."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from owae.errors import TrainingError
from owae.model.stack import Stack

logger = logging.getLogger(__name__)


def check_trainable(stack: Stack) -> None:
    """Refuses a stack whose parameters no step can change rightly, with a `TrainingError`."""
    parameters = list(stack.parameters())
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in parameters}
    if any(parameter.is_meta for parameter in parameters):
        raise TrainingError(
            "the stack's parameters are on the meta device, which holds no numbers; a stack made on the CPU would work"
        )
    if any(parameter.is_inference() for parameter in parameters):
        raise TrainingError(
            "the stack was made in torch.inference_mode(), where nothing can be trained; one made outside would work"
        )
    if len(dtypes) > 1 or dtypes & {"float16", "bfloat16"}:
        raise TrainingError(
            f"the stack's parameters are {' and '.join(sorted(dtypes))}; training keeps them in one type of 32 or 64 bits: "
            'stack.float() would work, with precision = "bf16-mixed" for the speed of half precision'
        )


class Effect:
    """Looks at the gradients and parameters that an optimiser trains; `TrainingError` if there are none.

    A step's gradient is looked at through biases and norms, or all parameters where there are none: they are a thousandth of all, and what
    is not finite anywhere along the encoders and decoders reaches them. Every weight would cost some per cent of a step.
    """

    def __init__(self, stack: Stack, optimizer: torch.optim.Optimizer) -> None:
        self._stack, self._optimizer = stack, optimizer
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        parameters = [p for p in stack.parameters() if p.requires_grad and id(p) in held]
        if not parameters:
            raise TrainingError(
                "there is nothing to train: every parameter of the stack is frozen (requires_grad is false) or unknown to the optimiser"
            )
        self._watched = [p for p in parameters if p.ndim <= 1] or parameters
        # Of each some numbers, spread over it: whatever trains a parameter moves one of them.
        self._spread = [parameter.detach().flatten()[:: max(1, parameter.numel() // 64)] for parameter in parameters]
        self._first = [part.clone() for part in self._spread]
        self._looked = False

    def gradient_norm(self) -> Tensor:
        """Returns a number on the device that is finite only if the gradient is."""
        return norm_of_gradient(self._watched, self._stack.device)

    def futile(self, gradient: float) -> str:
        """Says why a step with this `gradient_norm` trains nothing; empty if it does. Warns once of parameters that no gradient reaches."""
        if not self._looked:
            self._looked = True
            # Where deeper levels are the prior of the matched one, their encoders have no part in the objective.
            part = {
                id(p) for layer in self._stack.layers[: self._stack.matched_level] for p in layer.parameters() if p.requires_grad
            }
            if missed := [name for name, p in self._stack.named_parameters() if id(p) in part and p.grad is None]:
                logger.warning("no gradient reaches %s, so they stay as they are: is something detached?", ", ".join(missed))
        if not any(float(group["lr"]) for group in self._optimizer.param_groups):
            return "the learning rate is 0"
        if gradient == 0 and not any(p.grad is not None and bool(p.grad.any()) for p in self._stack.parameters()):
            return "every gradient is 0"
        return ""

    def unmoved(self) -> bool:
        """Tells whether all parameters are what they were at first; those that were 0 may hold less than float32 adds to any other."""
        return all(bool(((now - first).abs() < 1e-12).all()) for now, first in zip(self._spread, self._first, strict=True))


def level_gradient_norms(stack: Stack) -> Tensor:
    """Returns the norm of the gradient of each level's parameters, (N,)."""
    return torch.stack([norm_of_gradient(layer.parameters(), stack.device).detach().float() for layer in stack.layers])


def norm_of_gradient(parameters: Iterable[Tensor], device: torch.device) -> Tensor:
    """Returns the norm of the gradient of parameters on a device, a scalar; 0 where none has one."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return get_total_norm(gradients) if gradients else torch.zeros((), device=device)
