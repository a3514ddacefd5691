"""Measures how much of the pictures' variance each level of a stack decides when it is sampled."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from owae.model.inference import evaluating
from owae.model.stack import Stack


def decided(stack: Stack, n: int = 500, seed: int = 0) -> list[float]:
    """Returns, by level, the share of the samples' variance that is lost where that level's noise is not known.

    For level i, `E ‖x − x'‖² / 2` over `E ‖x − E x‖²`, where x' is sampled with the noise of all levels but i the same as for x: Jansen's
    estimator of the total effect. Levels act together, so shares may sum to more than 1. A level with a deterministic conditional has 0.
    The noise that a bottom layer adds to the data themselves, where it draws data, belongs to none.
    """
    with evaluating(stack, seed):
        seeds = [seed * 1_000_003 + i for i in range(stack.depth)]
        x = sample_by(stack, n, seeds)
        whole = (x - x.mean(0)).square().flatten(1).sum(1).mean()
        if not whole > 0:
            return [0.0] * stack.depth
        shares = []
        for i in range(stack.depth):
            other = [*seeds]
            other[i] += 500_009
            shares.append(float((x - sample_by(stack, n, other)).square().flatten(1).sum(1).mean() / (2 * whole)))
    return shares


def sample_by(stack: Stack, n: int, seeds: list[int]) -> Float[Tensor, "n *x"]:
    """Draws n samples with a seed for the noise of every level, bottom first: the prior's for the deepest, else the decoder's above it."""
    torch.manual_seed(seeds[-1])
    z = stack.prior.sample(n)
    for i, layer in reversed(list(enumerate(stack.layers))):
        if i == 0:
            return layer.point(z)
        torch.manual_seed(seeds[i - 1])
        z = layer.decode(z).rsample()
    raise AssertionError("a stack has a level")
