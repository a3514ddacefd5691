"""Squared distances between points, by whichever of two ways is accurate enough.

Expanded, `‖a‖² − 2a·b + ‖b‖²` is one matrix product but errs by `ε · max‖z‖²` (ε the rounding unit), which is much for near points far from
the origin; direct sums of squared differences are exact but an order of magnitude slower beyond a few dimensions. Which one is
used follows from the points and the kernel alone, so all backends that ask here see the same numbers. Where only values and slopes are
wanted, not a graph, the two are joined on a CPU (`Points.between`): multiplied out, and the few pairs that are near summed directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from owae_mmd.kernels import Kernel

ALWAYS_DIRECT = 4  # dimensions up to which differences cost no more than the matrix product
DIRECT_FOR_KINKS = 64  # dimensions up to which kernels with a kink at 0 get exact distances
# Pairs nearer than their squared norms' sum over this are near: the others err by less than 1e-4 of their distance in float32.
NEAR = 64
MANY = 8  # the share of near pairs, one in so many, from which all are summed directly
# Largest max‖z‖² / s for the expanded form: then the kernel errs by at most 512 ε, and that only at near points far out.
TOLERANCE = 256


@dataclass(frozen=True)
class Points:
    """Points `z` (N, d) made ready: `left[i] · right[j] = ‖z_i − z_j‖²` with `left = (z, 1, ‖z‖²)` and `right = (−2z, ‖z‖², 1)`.

    Attributes:
        left, right: The factors, (N, d + 2); `right` is `left` where nothing is multiplied out.
        direct: Whether distances are summed from differences instead of multiplied out.
        rounded: Whether squared distances that are no more than the rounding of their points count as 0, for a kernel with a kink.
        mended: Whether `between` multiplies out and mends the near pairs, whatever `direct` says.
    """

    left: Tensor
    right: Tensor
    direct: bool
    rounded: bool
    mended: bool

    @property
    def coordinates(self) -> Tensor:
        """`z` itself, (N, d)."""
        return self.left[:, :-2]

    def between(self, rows: slice, columns: slice) -> Float[Tensor, "n m"]:
        """Squared distances between two runs of points, without a graph; 0 for a point and itself."""
        left, right = self.left[rows], self.right[columns]
        if not self.mended or not len(left):
            return squared_distances(left, right, self.direct, self.rounded)
        u = left @ right.T
        own = u.diagonal(rows.start - columns.start).fill_(torch.inf)
        near = (left[:, -1].amax() + right[:, -2].amax()) / NEAR
        if u.amin() <= near:
            i, j = (u <= near).nonzero(as_tuple=True)
            if len(i) * MANY > u.numel():
                return squared_distances(left, self.left[columns], True, self.rounded)
            exact = (self.coordinates[rows][i] - self.coordinates[columns][j]).square_().sum(1)
            u[i, j] = torch.where(exact > _rounding(left, True)[i, 0], exact, 0.0)
        own.zero_()
        return u


def prepare(kernel: Kernel, z: Float[Tensor, "N d"]) -> Points:
    """Makes points ready, and decides how their distances are taken for this kernel."""
    d = z.shape[1]
    if kernel.smooth and d <= ALWAYS_DIRECT:
        factor = functional.pad(z, (0, 2), value=1.0)
        return Points(factor, factor, True, rounded=False, mended=False)
    squares = z.square().sum(1, keepdim=True)
    direct = not squares.detach().amax().item() <= TOLERANCE * min(kernel.scales) if kernel.smooth else d <= DIRECT_FOR_KINKS
    mended = not kernel.smooth and d > ALWAYS_DIRECT and z.device.type == "cpu"
    ones = torch.ones_like(squares)
    left = torch.cat([z, ones, squares], 1)
    right = left if direct and not mended else torch.cat([-2 * z, squares, ones], 1)
    return Points(left, right, direct, not kernel.smooth, mended)


def squared_distances(left: Float[Tensor, "n e"], right: Float[Tensor, "m e"], direct: bool, rounded: bool) -> Float[Tensor, "n m"]:
    """`‖a − b‖²` between two sets of rows of one `Points`; differentiable, with derivative 0 between equal points.

    Args:
        left: Rows of `Points.left`.
        right: Rows of `Points.right` or, where `direct`, of `Points.left`.
        direct, rounded: As of `Points`.
    """
    u = _from_differences(left[:, :-2], right[:, :-2]) if direct else left @ right.T
    if rounded:
        return torch.where(u > _rounding(left, direct), u, 0.0)
    return u if direct else u.clamp_min(0)


def _rounding(left: Float[Tensor, "n e"], direct: bool) -> Float[Tensor, "n 1"]:
    """What squared distances of a row's point err by; of the near ones, which alone are that small, their other point is as far out."""
    epsilon = torch.finfo(left.dtype).eps
    return left[:, -1:].detach() * (epsilon**2 if direct else 8 * epsilon)


def _from_differences(a: Tensor, b: Tensor) -> Tensor:
    if a.shape[1] > ALWAYS_DIRECT:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
    # Three times as fast as cdist in few dimensions.
    columns = b.T.contiguous()
    u = (a[:, :1] - columns[0]).square()
    for coordinate in range(1, a.shape[1]):
        difference = a[:, coordinate, None] - columns[coordinate]
        u = u.addcmul_(difference, difference)
    return u


@contextmanager
def exact_products() -> Iterator[None]:
    """Runs the block with matrix products of float32 to full precision, whatever the networks around it are allowed."""
    allowed = torch.get_float32_matmul_precision()
    if allowed == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
