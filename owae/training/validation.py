"""Evaluates the objective on examples held out of the training set."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from owae.data.sources import examples, original
from owae.interfaces import DataSource
from owae.model.objective import Objective
from owae.model.stack import Stack
from owae.numerics import check_values
from owae.parallel.gather import split_rows
from owae.restoring import evaluation_mode, own_randomness


@torch.no_grad()
def validate(
    stack: Stack,
    source: DataSource,
    objective: Callable[[torch.Tensor, int], Objective],
    *,
    batch_size: int,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, float]:
    """Computes `validation/loss` and the objective's other terms, in means over a source in batches of training's size.

    In evaluation mode and with noise of its own, the same each time, after which training goes on as if this had not run.

    Args:
        stack: What is evaluated.
        source: The held-out examples.
        objective: Gives the objective on a batch from this process's rows of it and the number of all rows.
        batch_size: Rows of a batch on all processes together.
        seed: Decides the noise.
        rank: Which process this is.
        ranks: How many there are.

    Raises:
        DataError: An example is not finite; it is named.
    """
    totals: dict[str, torch.Tensor] = {}
    count = 0
    with evaluation_mode(stack), own_randomness(seed + rank, stack.device):
        for rows in torch.arange(len(source)).split(batch_size):
            if len(rows) < 2:  # as in training: no divergence of one example
                break
            own = split_rows(rows, ranks)[rank]
            x = examples(source, own if len(own) else rows[:1], stack.device)[: len(own)]  # no source is asked for nothing
            for name, term in objective(x, len(rows)).terms().items():
                totals[name] = totals.get(name, 0.0) + len(rows) * term
            count += len(rows)
    values = (torch.stack([total.float() for total in totals.values()]) / count).tolist()
    if not all(map(math.isfinite, values)):
        for rows in torch.arange(len(source)).split(batch_size):
            check_values("the held-out data", examples(source, rows), indices=original(source, rows)[1])
    return {f"validation/{name}": value for name, value in zip(totals, values, strict=True)}
