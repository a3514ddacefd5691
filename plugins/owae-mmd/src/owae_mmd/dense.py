"""Every pair at once in ordinary torch: the plain statement of the sum, with as many numbers in memory as pairs times scales.

The reference for the other backends, and the only one that can be differentiated twice.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from owae_mmd.distances import exact_products, prepare, squared_distances
from owae_mmd.kernels import Kernel
from owae_mmd.pairs import Side, Weights, origin


def pair_sum(kernel: Kernel, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], weights: Weights, unit: float) -> Float[Tensor, ""]:
    """`V` of `owae_mmd.pairs`."""
    points = prepare(kernel, (torch.cat([x, y]) - origin(x, y)) * unit)
    others = points.left if points.direct else points.right
    (left_x, left_y), (right_x, right_y) = (factor.split([len(x), len(y)]) for factor in (points.left, others))
    with exact_products():
        xx, yy, xy = (
            kernel(squared_distances(left, right, points.direct, points.rounded))
            for left, right in ((left_x, right_x), (left_y, right_y), (left_x, right_y))
        )
        return _rows(kernel, weights.x, xx, xy) + _rows(kernel, weights.y, yy, xy.T)


def _rows(kernel: Kernel, side: Side, within: Tensor, across: Tensor) -> Tensor:
    """`a Σ_i R(x_i)` from the kernel at the pairs within a sample and with the other."""
    own = 0.0 if side.diagonal else kernel.at_zero
    return side.scale * (side.within * (within.sum(1) - own) - side.across * across.sum(1)).sum()
