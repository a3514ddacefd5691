"""Objectives of several batches that make one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from owae.model.stack import Objective, Stack


@torch.no_grad()
def mean_objective(objectives: Sequence[Objective], counts: Sequence[int]) -> Objective:
    """The terms' means over batches of these sizes; codes and encoders' distributions are the last batch's."""
    if len(objectives) == 1:
        return objectives[0]
    sizes = torch.tensor(counts, dtype=torch.float32, device=objectives[0].loss.device)
    sizes = sizes / sizes.sum()

    def over(values: Sequence[torch.Tensor]) -> torch.Tensor:
        return (torch.stack(list(values)) * sizes).sum()

    return replace(
        objectives[-1],
        costs=tuple(map(over, zip(*(o.costs for o in objectives), strict=True))),
        penalties=tuple(map(over, zip(*(o.penalties for o in objectives), strict=True))),
        divergence=over([o.divergence for o in objectives]),
        transport=over([o.transport for o in objectives]),
        loss=over([o.loss for o in objectives]),
    )


def unknown(stack: Stack) -> Objective:
    """The objective of a step whose evaluation broke off: every term is NaN, and there are no codes."""
    nan = stack.prior.anchor.new_full((), math.nan)
    terms = (nan,) * stack.stacked
    return Objective(terms, terms, nan, stack.weights, (0.0,) * stack.stacked, nan, nan, (), ())
