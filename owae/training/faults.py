"""Finds out what in a step was not finite: the data, a term of the objective or the gradient.

The loop reads the loss and the norm of the gradient once a step; which term or example is wrong is looked up only when one is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from owae.errors import StepError, TrainingError
from owae.model.objective import Objective
from owae.model.stack import Stack
from owae.tensor_checks import bad_rows
from owae.training.step import Batches

_ADVICE = "the parameters are as they were before this step; a smaller learning rate or clip_gradients may help"
_TOO_LARGE = (
    'there is not memory enough for it; a smaller batch_size, checkpoint_activations = true, precision = "bf16-mixed" or more devices '
    "may help; the newest checkpoint stays"
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


def explain(stack: Stack, batches: Batches, objectives: Sequence[Objective]) -> StepError:
    """Names what was not finite first: the data, a term of the objective, from the data upward, or the gradient."""
    for i in range(len(batches.own)):
        if fault := _bad_examples(batches, i):
            return fault
    for objective in objectives:
        if not math.isfinite(objective.loss.item()):
            return StepError(f"{batches.where}: {_first_term(objective)}; {_ADVICE}")
    return StepError(f"{batches.where}: {_first_gradient(stack)}; {_ADVICE}")


def explain_failure(stack: Stack, batches: Batches, i: int, error: Exception) -> Exception:
    """Returns what to raise for an exception in batch `i`: the error itself unless values that are not finite explain it."""
    if fault := _bad_examples(batches, i):
        return fault
    x = batches.own[i]
    with torch.no_grad():
        for level, layer in enumerate(stack.layers, start=1):
            x = layer.encode(x).mean
            if not bool(torch.isfinite(x).all()):
                what = f"level {level}, term cost/{level}: the encoder's mean of z_{level} is not finite ({error})"
                return StepError(f"{batches.where}: {what}; {_ADVICE}")
    return error


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


def _first_gradient(stack: Stack) -> str:
    gradients = {name: p.grad for name, p in stack.named_parameters() if p.grad is not None}
    for name, gradient in gradients.items():
        if not bool(torch.isfinite(gradient).all()):
            return f"{_term(stack, name)} is not finite"
    largest = {name: gradient.abs().max().item() for name, gradient in gradients.items() if gradient.numel()}
    name = max(largest, key=lambda name: largest[name])
    return f"{_term(stack, name)} holds entries up to {largest[name]:.2g}, and the norm of the whole gradient overflows"


def _term(stack: Stack, name: str) -> str:
    found = re.match(r"levels\.(\d+)\.(?:layer\.)?(.+)", name)
    level, name = (int(found[1]) + 1, found[2]) if found else (stack.matched_level, name)
    return f"level {level}, term gradient of {name}"
