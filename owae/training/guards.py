"""Finds out why a step's data, objective or gradient is not finite, and undoes what the step has changed.

The loop reads the loss and the norm of the gradient once a step, together; what exactly is wrong is looked up only when something is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from owae.errors import StepError, TrainingError
from owae.model.objective import Objective
from owae.model.stack import Stack

_ADVICE = "the parameters are as they were before this step; a smaller learning rate or clip_gradients may help"


_TOO_LARGE = (
    'there is not memory enough for it; a smaller batch_size, checkpoint_activations = true, precision = "bf16-mixed" or more devices '
    "may help; the newest checkpoint stays"
)


@contextmanager
def within_memory(where: str) -> Iterator[None]:
    """Runs a block that may need more memory than there is, which is no fault of the program's.

    Raises:
        TrainingError: It does; what would help is said.
    """
    try:
        yield
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            first, *_ = str(error).splitlines()
            raise TrainingError(f"{where}: {first.rstrip('. ')}: {_TOO_LARGE}") from error
        raise


class Guard:
    """Watches over the steps of one stack.

    The gradient is looked at through biases and norms, or all parameters where there are none: they are a thousandth of all, and what
    is not finite anywhere along the encoders and decoders reaches them. Every weight would cost some per cent of a step.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        parameters = [p for p in stack.parameters() if p.requires_grad]
        self._watched = [p for p in parameters if p.ndim <= 1] or parameters
        self._buffers = list(stack.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def begin(self) -> None:
        """Copies what a forward pass changes: the buffers, such as batch norm's running statistics."""
        if self._kept:
            torch._foreach_copy_(self._kept, self._buffers)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def undo(self) -> None:
        """Restores the buffers of `begin`."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)

    def gradient_norm(self) -> Tensor:
        """Returns a number on the device that is finite only if the gradient is."""
        gradients = [p.grad for p in self._watched if p.grad is not None]
        return get_total_norm(gradients) if gradients else torch.zeros((), device=self._stack.device)

    def explain(self, batches: Sequence[Tensor], objectives: Sequence[Objective], where: str) -> StepError:
        """Names what was not finite first: the data, a term of the objective, from the data upward, or the gradient."""
        for x in batches:
            if fault := _bad_rows(x):
                return StepError(f"{where}: {fault}")
        for objective in objectives:
            if not math.isfinite(objective.loss.item()):
                return StepError(f"{where}: {_first_term(objective)}; {_ADVICE}")
        return StepError(f"{where}: {self._first_gradient()}; {_ADVICE}")

    def explain_failure(self, x: Tensor, where: str, error: Exception) -> Exception:
        """Returns what to raise for an exception inside the objective: the error itself unless values that are not finite explain it."""
        if fault := _bad_rows(x):
            return StepError(f"{where}: {fault}")
        with torch.no_grad():
            for i, code in enumerate(self._stack.encode(x), start=1):
                if not bool(torch.isfinite(code).all()):
                    return StepError(
                        f"{where}: level {i}, term cost/{i}: the encoder's mean of z_{i} is not finite ({error}); {_ADVICE}"
                    )
        return error

    def _first_gradient(self) -> str:
        for i, layer in enumerate(self._stack.layers, start=1):
            for name, parameter in layer.named_parameters():
                if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                    return f"level {i}, term gradient of {name} is not finite"
        return f"level {self._stack.matched_level}, term gradient of the divergence or prior is not finite"


def _bad_rows(x: Tensor) -> str:
    if bool(torch.isfinite(x).all()):
        return ""
    bad = (~torch.isfinite(x.flatten(1)).all(1)).nonzero()[:, 0].tolist()
    return (
        f"level 1, term cost/0 (the cost on the data) would not be finite: {len(bad)} of the {len(x)} examples "
        f"in the batch hold NaN or infinity (first: row {bad[0]}); this step changed nothing"
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
