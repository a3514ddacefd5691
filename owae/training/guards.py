"""Training stops at the first step whose objective or gradient is not finite, and says where it began."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from owae.errors import TrainingError
from owae.stack import Objective, Stack

_ADVICE = "the parameters are as they were before this step; a smaller learning rate or clip_gradients may help"


def check_data(x: Tensor, where: str) -> None:
    """Stop before a batch that is not finite reaches the networks, whose running statistics would keep it.

    Raises:
        TrainingError: Names the place in training and the rows.
    """
    if bool(torch.isfinite(x).all()):
        return
    bad = (~torch.isfinite(x.flatten(1)).all(1)).nonzero()[:, 0].tolist()
    raise TrainingError(
        f"{where}: level 1, term cost/0 (the cost on the data) would not be finite: {len(bad)} of the {len(x)} examples "
        f"in the batch hold NaN or infinity (first: row {bad[0]}); this step changed nothing"
    )


def check_objective(objective: Objective, where: str) -> None:
    """Stop if the loss is not finite.

    Raises:
        TrainingError: Names the place in training, the level and the first term that is not finite, from the data upward.
    """
    if not math.isfinite(objective.loss.item()):
        raise TrainingError(f"{where}: {_first_term(objective)}; {_ADVICE}")


def watched_parameters(stack: Stack) -> list[nn.Parameter]:
    """The parameters whose gradients tell whether the whole gradient is finite: biases and norms, or all where there are none.

    They are a thousandth of the parameters, and a gradient that is not finite anywhere along the encoders and decoders reaches
    them; looking at every weight would cost some per cent of a step.
    """
    parameters = [p for p in stack.parameters() if p.requires_grad]
    return [p for p in parameters if p.ndim <= 1] or parameters


def check_gradients(stack: Stack, watched: list[nn.Parameter], where: str) -> None:
    """Stop if the gradient is not finite, by a look at the `watched_parameters`.

    Raises:
        TrainingError: Names the place in training, the level and the parameter.
    """
    gradients = [p.grad for p in watched if p.grad is not None]
    if gradients and not math.isfinite(get_total_norm(gradients).item()):
        raise TrainingError(f"{where}: {_first_gradient(stack)}; {_ADVICE}")


def explain_failure(stack: Stack, x: Tensor, where: str, error: Exception) -> Exception:
    """What to raise for an exception inside the objective: the error itself unless values that are not finite explain it."""
    with torch.no_grad():
        for i, code in enumerate(stack.encode(x), start=1):
            if not bool(torch.isfinite(code).all()):
                return TrainingError(
                    f"{where}: level {i}, term cost/{i}: the encoder's mean of z_{i} is not finite ({error}); {_ADVICE}"
                )
    return error


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
    for i, layer in enumerate(stack.layers, start=1):
        for name, parameter in layer.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return f"level {i}, term gradient of {name} is not finite"
    return "the gradient is not finite"
