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
    by_column = torch.cat([left.new_full((n,), weights.x.within), left.new_full((m,), -weights.x.across)])
    witness_x = torch.mv(of_x, by_column).sub_(_own(kernel, weights.x))
    witness_y = of_y.sum(1).mul_(weights.y.within).sub_(of_x[:, n:].sum(0), alpha=weights.y.across).sub_(_own(kernel, weights.y))
    value = weights.x.scale * witness_x.sum() + weights.y.scale * witness_y.sum()
    affine = left[:, :-1]  # (z, 1)
    sums = left.new_empty(graded, affine.shape[1])
    if slope is not None:
        torch.mm(slope.mul_(by_column), affine, out=sums[:n])
        if slope_y is not None:
            torch.mm(slope[:, n:].T, affine[:n], out=sums[n:])
            sums[n:].addmm_(slope_y, affine[n:], alpha=weights.y.within * weights.y.scale / weights.x.scale)
    return value, combine(points, sums, weights)


def combine(points: Points, sums: Float[Tensor, "graded e"], weights: Weights) -> Float[Tensor, "graded d"]:
    """Returns the gradient `4a (z Σ S − Σ S z)` from the sums `(Σ S z, Σ S)`."""
    z = points.coordinates[: len(sums)]
    return (z * sums[:, -1:]).sub_(sums[:, :-1]).mul_(4 * weights.x.scale)


def _own(kernel: Kernel, side: Side) -> float:
    """Returns what the pair of a point with itself adds to a row that should have left it out."""
    return 0.0 if side.diagonal else side.within * kernel.at_zero
