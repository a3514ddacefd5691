"""Computes the objective in training: on this process's rows of a batch, over a step's batches and processes, and on held-out examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from owae.data.sources import check_scale, examples, original
from owae.errors import DataError
from owae.interfaces import DataSource, Shape
from owae.model.context import Context
from owae.model.objective import Objective
from owae.model.stack import Stack
from owae.parallel.gather import all_reduce, gather, rows_of
from owae.tensor_checks import check_values
from owae.torch_state import evaluation_mode, own_randomness


class TrainingObjective(nn.Module):
    """Wraps a stack so that the forward pass gives the loss: the module that data parallelism takes.

    DistributedDataParallel looks for parameters that the output reaches, so the output is the loss alone; the whole record is kept in
    `latest` until the next call.
    """

    def __init__(self, stack: Stack, context: Context, rank: int = 0, ranks: int = 1) -> None:
        super().__init__()
        self.stack, self.context = stack, context
        self.rank, self.ranks = rank, ranks
        self.latest: Objective | None = None

    def forward(self, x: Tensor, count: int) -> Tensor:
        """Computes the loss whose gradient, averaged over processes, is that of the loss on the whole batch.

        `x` (b, *x) are this process's rows, `count` the number of rows of all processes.
        """
        if self.ranks == 1:
            objective = self.latest = self.stack(x, context=self.context)
            return objective.loss
        rows = rows_of(count, self.ranks)
        context = replace(self.context, gather=lambda z: gather(z, rows))
        objective = self.latest = self.stack(x, context=context)
        # A mean over rows counts by the rows that it is over; the divergence is computed by every process on the same codes.
        share = self.ranks * rows[self.rank] / count
        costs, penalties = (
            [share * term if len(x) else term.nan_to_num() * 0 for term in terms]  # the mean of no rows is NaN
            for terms in (objective.costs, objective.penalties)
        )
        return _summed(self.stack, costs, penalties, objective.divergence).loss


def _summed(stack: Stack, costs: Sequence[Tensor], penalties: Sequence[Tensor], divergence: Tensor) -> Objective:
    return Objective.summed(costs, penalties, divergence, multipliers=stack.multipliers, penalty_weights=stack.penalty_weights)


@torch.no_grad()
def combined(
    stack: Stack, objectives: Sequence[Objective], counts: Sequence[int], rank: int = 0, ranks: int = 1, signal: int = 0
) -> tuple[Objective, Tensor]:
    """Combines the objectives of a step's batches into one, whose terms are means over all rows of all batches and processes.

    Args:
        stack: What was evaluated.
        objectives: One a batch, of this process's rows.
        counts: Rows of each batch, those of all processes.
        rank: Which process this is.
        ranks: How many there are.
        signal: What this process has to tell the others; 0 for nothing.

    Returns:
        The objective, with the codes and encoders' distributions of this process's last batch; and every process's signal, (ranks,).
    """
    signals = torch.full((1,), float(signal), device=stack.device)
    if len(objectives) == 1 and ranks == 1:
        return objectives[0], signals
    total, depth = sum(counts), stack.matched_level
    message = torch.zeros(2 * depth + 1 + ranks, device=stack.device, dtype=objectives[0].loss.dtype)
    for objective, count in zip(objectives, counts, strict=True):
        own = rows_of(count, ranks)[rank]
        means = torch.stack([*objective.costs, *objective.penalties])
        message[: 2 * depth] += means * (own / total) if own else 0.0
        message[2 * depth] += objective.divergence * (count / total / ranks)
    message[2 * depth + 1 + rank] = signal
    if ranks > 1:
        all_reduce(message)
    terms = message[: 2 * depth + 1].unbind()
    whole = _summed(stack, terms[:depth], terms[depth : 2 * depth], terms[2 * depth])
    return replace(whole, posteriors=objectives[-1].posteriors, codes=objectives[-1].codes), message[2 * depth + 1 :]


def nan_objective(stack: Stack) -> Objective:
    """Returns the objective of a step whose evaluation failed: every term is NaN, and there are no codes."""
    nan = torch.full((), math.nan, device=stack.device)
    terms = [nan] * stack.matched_level
    return _summed(stack, terms, terms, nan)


def find_unused_parameters(fabric: Fabric, stack: Stack, shape: Shape) -> None:
    """Tells data parallelism whether some parameters have no part in the objective, which it must then look for at each step."""
    parameters = [parameter for parameter in stack.parameters() if parameter.requires_grad]
    with torch.enable_grad(), own_randomness(0, stack.device), evaluation_mode(stack), fabric.autocast():
        loss = stack(torch.zeros(2, *shape, device=stack.device, dtype=parameters[0].dtype)).loss
        unused = any(gradient is None for gradient in torch.autograd.grad(loss, parameters, allow_unused=True))
    # Fabric takes this for its strategy's constructor alone, where the model is not known yet.
    fabric.strategy._ddp_kwargs["find_unused_parameters"] = unused  # pyright: ignore[reportAttributeAccessIssue]


@torch.no_grad()
def validate(
    stack: Stack,
    source: DataSource,
    objective: Callable[[Tensor, int], Objective],
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
    totals: dict[str, Tensor] = {}
    count = 0
    if len(source) < 2:
        raise DataError(f"found {len(source)} held-out example; a divergence needs at least 2")
    bounds = stack.layers[0].output_range
    with evaluation_mode(stack), own_randomness(seed + rank, stack.device):
        for rows in torch.arange(len(source)).split(batch_size):
            if len(rows) < 2:  # as in training: no divergence of one example
                break
            own = rows.tensor_split(ranks)[rank]
            x = examples(source, own if len(own) else rows[:1], stack.device)[: len(own)]  # no source is asked for nothing
            if not count and bounds is not None:
                check_scale("the held-out data", x, bounds, original(source, own)[1])
            for name, term in objective(x, len(rows)).terms().items():
                totals[name] = totals.get(name, 0.0) + len(rows) * term
            count += len(rows)
    values = (torch.stack([total.float() for total in totals.values()]) / count).tolist()
    if not all(map(math.isfinite, values)):
        for rows in torch.arange(len(source)).split(batch_size):
            check_values("the held-out data", examples(source, rows), indices=original(source, rows)[1])
    return {f"validation/{name}": value for name, value in zip(totals, values, strict=True)}
