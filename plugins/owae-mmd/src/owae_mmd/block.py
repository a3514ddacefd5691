"""Sums over the pairs of small samples: value and gradient in one pass over a single block.

The rows of `x` meet every point, those of `y` only each other; pairs across serve both. With `S` the weighted slopes `dk/du`,
`∂V/∂z_i = 4a Σ_j S_ij (z_i − z_j)`, which is a matrix product of `S` with `(z, 1)`. Slopes are computed only where a gradient is asked
for, so pairs among prior draws cost their values alone. It is a few dozen short operations in all: at the size of a training batch,
their number is what costs time.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from owae_mmd.distances import Points
from owae_mmd.kernels import Kernel
from owae_mmd.pairs import Side, Weights


def evaluate(
    kernel: Kernel, points: Points, n: int, weights: Weights, graded: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "graded d"]]:
    """`V` of the first `n` points against the others, and its gradient in the first `graded`: none, those `n`, or all."""
    left = points.left
    m = len(left) - n
    of_x, slope = kernel.evaluate(points.between(slice(0, n), slice(0, n + m)), slopes=graded > 0)
    of_y, slope_y = kernel.evaluate(points.between(slice(n, n + m), slice(n, n + m)), slopes=graded > n)
    by_column = left.new_full((n + m, 1), weights.x.within)
    by_column[n:] = -weights.x.across
    value = torch.mm(of_x, by_column).sum().mul_(weights.x.scale)
    if m:
        witness_y = of_y.sum(1).mul_(weights.y.within).sub_(of_x[:, n:].sum(0), alpha=weights.y.across)
        value.add_(witness_y.sum(), alpha=weights.y.scale)
    value.sub_(_own(kernel, weights.x, n) + _own(kernel, weights.y, m))
    affine = left[:, :-1]  # (z, 1)
    if slope is None:
        return value, left.new_empty(0, affine.shape[1] - 1)
    # Products of few rows, for those of few columns take four times as long in few dimensions.
    sums = torch.mm((affine * by_column).T.contiguous(), slope.T)
    if slope_y is not None:
        of_own = affine[n:] * (weights.y.within * weights.y.scale / weights.x.scale)
        of_others = affine[:n] * -weights.x.across
        sums = torch.cat([sums, torch.mm(of_others.T.contiguous(), slope[:, n:]) + torch.mm(of_own.T.contiguous(), slope_y)], 1)
    return value, combine(points, sums.T, weights)


def combine(points: Points, sums: Float[Tensor, "graded e"], weights: Weights) -> Float[Tensor, "graded d"]:
    """Returns the gradient `4a (z Σ S − Σ S z)` from the sums `(Σ S z, Σ S)`."""
    z = points.coordinates[: len(sums)]
    return (z * sums[:, -1:]).sub_(sums[:, :-1]).mul_(4 * weights.x.scale)


def _own(kernel: Kernel, side: Side, count: int) -> float:
    """Returns what the pairs of points with themselves add to a sum that should have left them out."""
    return 0.0 if side.diagonal else side.scale * side.within * count * kernel.at_zero
