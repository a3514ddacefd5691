"""Finds out why a step's data, objective or gradient is not finite, and undoes what the step has changed.

The loop reads the loss and the norm of the gradient once a step; which term or example is wrong is looked up only when one is.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from owae.errors import PluginError, StepError, TrainingError
from owae.model.context import Context
from owae.model.objective import Objective
from owae.model.stack import Stack
from owae.numerics import bad_rows
from owae.restoring import own_randomness
from owae.training.step import Batches

logger = logging.getLogger(__name__)

_NOBODYS = 0x5EED_0F_0AE
_ADVICE = "the parameters are as they were before this step; a smaller learning rate or clip_gradients may help"
_TOO_LARGE = (
    'there is not memory enough for it; a smaller batch_size, checkpoint_activations = true, precision = "bf16-mixed" or more devices '
    "may help; the newest checkpoint stays"
)


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


@contextmanager
def within_memory(where: str) -> Iterator[None]:
    """Runs a block that may need more memory than there is; then a `TrainingError` says what would help."""
    try:
        yield
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            first, *_ = str(error).splitlines()
            raise TrainingError(f"{where}: {first.rstrip('. ')}: {_TOO_LARGE}") from error
        raise


class Guard:
    """Checks the steps of one stack; `TrainingError` if there is nothing in it to train.

    The gradient is looked at through biases and norms, or all parameters where there are none: they are a thousandth of all, and what
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
        self._buffers = list(stack.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._tried = False
        self._reached: list[str] | None = None

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Copies what a forward pass changes: the buffers, such as batch norm's running statistics. `x` is the step's first batch."""
        if self._kept:
            torch._foreach_copy_(self._kept, self._buffers)  # pyright: ignore[reportPrivateImportUsage]
        if not self._tried:
            self._tried = True
            self._try(x)
            self.undo()

    def _try(self, x: Tensor) -> None:
        """Runs the objective under a seed that nobody chooses: a component that seeds torch's generator is then refused (`PluginError`)."""
        try:
            with own_randomness(_NOBODYS, self._stack.device):
                self._stack(x, context=Context(check=False))
        except PluginError:
            raise
        except Exception as error:  # the step meets it too, and says where
            logger.debug("the components could not be tried: %s", error)

    @torch.no_grad()
    def undo(self) -> None:
        """Restores the buffers of `begin`."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)

    def unmoved(self) -> bool:
        """Tells whether all parameters are what they were at first; those that were 0 may hold less than float32 adds to any other."""
        return all(bool(((now - first).abs() < 1e-12).all()) for now, first in zip(self._spread, self._first, strict=True))

    def gradient_norm(self) -> Tensor:
        """Returns a number on the device that is finite only if the gradient is."""
        gradients = [p.grad for p in self._watched if p.grad is not None]
        return get_total_norm(gradients) if gradients else torch.zeros((), device=self._stack.device)

    def norms(self) -> Tensor:
        """Returns the norm of each level's gradient, (N,)."""
        none = [torch.zeros((), device=self._stack.device)]
        gradients = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in self._stack.layers]
        return torch.stack([get_total_norm(each or none).detach().float() for each in gradients])

    def futile(self, gradient: float) -> str:
        """Says why a step with this `gradient_norm` trains nothing; empty if it does. Warns once of parameters that no gradient reaches."""
        if self._reached is None:
            # Where deeper levels are the prior of the matched one, their encoders have no part in the objective.
            part = {
                id(p) for layer in self._stack.layers[: self._stack.matched_level] for p in layer.parameters() if p.requires_grad
            }
            self._reached = [name for name, p in self._stack.named_parameters() if id(p) in part and p.grad is None]
            if self._reached:
                logger.warning("no gradient reaches %s, so they stay as they are: is something detached?", ", ".join(self._reached))
        if not any(float(group["lr"]) for group in self._optimizer.param_groups):
            return "the learning rate is 0"
        if gradient == 0 and not any(p.grad is not None and bool(p.grad.any()) for p in self._stack.parameters()):
            return "every gradient is 0"
        return ""

    def explain(self, batches: Batches, objectives: Sequence[Objective]) -> StepError:
        """Names what was not finite first: the data, a term of the objective, from the data upward, or the gradient."""
        for i in range(len(batches.own)):
            if fault := _bad_examples(batches, i):
                return fault
        for objective in objectives:
            if not math.isfinite(objective.loss.item()):
                return StepError(f"{batches.where}: {_first_term(objective)}; {_ADVICE}")
        return StepError(f"{batches.where}: {self._first_gradient()}; {_ADVICE}")

    def explain_failure(self, batches: Batches, i: int, error: Exception) -> Exception:
        """Returns what to raise for an exception in batch `i`: the error itself unless values that are not finite explain it."""
        if fault := _bad_examples(batches, i):
            return fault
        x = batches.own[i]
        with torch.no_grad():
            for level, layer in enumerate(self._stack.layers, start=1):
                x = layer.encode(x).mean
                if not bool(torch.isfinite(x).all()):
                    what = f"level {level}, term cost/{level}: the encoder's mean of z_{level} is not finite ({error})"
                    return StepError(f"{batches.where}: {what}; {_ADVICE}")
        return error

    def _first_gradient(self) -> str:
        gradients = {name: p.grad for name, p in self._stack.named_parameters() if p.grad is not None}
        for name, gradient in gradients.items():
            if not bool(torch.isfinite(gradient).all()):
                return f"{self._term(name)} is not finite"
        largest = {name: gradient.abs().max().item() for name, gradient in gradients.items() if gradient.numel()}
        name = max(largest, key=lambda name: largest[name])
        return f"{self._term(name)} holds entries up to {largest[name]:.2g}, and the norm of the whole gradient overflows"

    def _term(self, name: str) -> str:
        found = re.match(r"levels\.(\d+)\.(?:layer\.)?(.+)", name)
        level, name = (int(found[1]) + 1, found[2]) if found else (self._stack.matched_level, name)
        return f"level {level}, term gradient of {name}"


def _bad_examples(batches: Batches, i: int) -> StepError | None:
    x = batches.own[i]
    bad = bad_rows(x)
    if not len(bad):
        return None
    return StepError(
        f"{batches.where}: level 1, term cost/0 (the cost on the data) would not be finite: {len(bad)} of the {len(x)} examples "
        f"in the batch hold NaN or infinity (first: example {batches.examples(i)[int(bad[0])]}); this step changed nothing"
    )


def _first_term(objective: Objective) -> str:
    for i, (cost, penalty) in enumerate(zip(objective.costs, objective.penalties, strict=True)):
        if not math.isfinite(cost.item()):
            return f"level {i + 1}, term cost/{i} (the cost on {'the data' if i == 0 else f'z_{i}'}) is {cost.item()}"
        if not math.isfinite(penalty.item()):
            return f"level {i + 1}, term penalty/{i + 1} (the regulariser on the encoder of z_{i + 1}) is {penalty.item()}"
    top = len(objective.costs)
    if not math.isfinite(objective.divergence.item()):
        return f"level {top}, term divergence (on z_{top}) is {objective.divergence.item()}"
    return f"level {top}, term loss is {objective.loss.item()}: the weighted sum of the terms overflows"
