"""The one number all backends compute: a weighted sum of the kernel over the pairs of two samples.

    V = a_x Σ_i R(x_i) + a_y Σ_j R(y_j)         R(x_i) = p_x Σ_j k(x_i, x_j) − q_x Σ_j k(x_i, y_j),   likewise for y

over all ordered pairs, the pairs of a point with itself among them or not: the estimators differ in that and in the weights alone.
`R` is the witness function at a point. It is near 0 where the distributions agree, and `p` and `q` are whole numbers, which float32
holds exactly, so little is lost in sums whose terms nearly cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from owae_mmd.kernels import Kernel


@dataclass(frozen=True)
class Side:
    """The weights of one sample's rows.

    Attributes:
        scale: `a`.
        within: `p`.
        across: `q`; `a q` is the same on both sides.
        diagonal: Whether a point makes a pair with itself.
    """

    scale: float
    within: float
    across: float
    diagonal: bool


@dataclass(frozen=True)
class Weights:
    """The weights of both samples' rows."""

    x: Side
    y: Side


PairSum = Callable[[Kernel, Tensor, Tensor, Weights, float], Tensor]
"""`V` of `x` (n, d) and `y` (m, d), both multiplied by the unit, differentiable in both."""

Evaluation = Callable[[Kernel, Tensor, int, Weights, int], tuple[Tensor, Tensor]]
"""`V` of the first `n` of all points (N, d) against the others, and its gradient in the first `graded`, which are none, those `n` or
all: (graded, d). In one pass and without a graph."""


def unbiased(n: int, m: int) -> Weights:
    """`Σ_{i≠j} k(x_i, x_j) / n(n−1) + Σ_{i≠j} k(y_i, y_j) / m(m−1) − 2 Σ k(x_i, y_j) / nm` (Gretton et al. 2012, Eq. 3).

    A sample of one row has no pair; its point's kernel with itself then stands in for the mean over pairs. The second sample may be
    empty: the sum is then over the first one alone.
    """
    return Weights(_side(n, m, n > 1), _side(m, n, m > 1))


def biased(n: int, m: int) -> Weights:
    """The squared distance between the two samples' own distributions: never negative (Gretton et al. 2012, Eq. 5)."""
    return Weights(_side(n, m, False), _side(m, n, False))


def _side(size: int, other: int, leave_out: bool) -> Side:
    """`[Σ_j k(x_i, x_j) / partners − Σ_j k(x_i, y_j) / other] / size`, over a common denominator."""
    partners = size - 1 if leave_out else size
    if not size:
        return Side(1.0, 0.0, 0.0, diagonal=True)
    if not other:
        return Side(1 / (size * partners), 1.0, 0.0, not leave_out)
    return Side(1 / (size * partners * other), float(other), float(partners), not leave_out)


def origin(x: Tensor, y: Tensor) -> Tensor:
    """Where coordinates are best counted from: the mean of the sample that is differentiated.

    No kernel depends on it, but rounding does. A gradient sums differences of points, most of them of its own sample: for a tight
    sample far from the other they would be lost in coordinates counted from anywhere else.
    """
    return (y if y.requires_grad and not x.requires_grad else x).detach().mean(0)


def with_gradients(evaluation: Evaluation) -> PairSum:
    """Makes a differentiable pair sum of a function that computes gradients along with the value."""

    def pair_sum(kernel: Kernel, x: Tensor, y: Tensor, weights: Weights, unit: float) -> Tensor:
        if y.requires_grad and not x.requires_grad:
            x, y, weights = y, x, Weights(weights.y, weights.x)
        return _Evaluated.apply(x, y, kernel, weights, unit, evaluation)  # pyright: ignore[reportReturnType] # apply is untyped

    return pair_sum


class _Evaluated(torch.autograd.Function):
    """Computes gradients in the forward pass, so nothing of size n² is kept. A second derivative is refused."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, kernel: Kernel, weights: Weights, unit: float, evaluation: Evaluation) -> Tensor:
        z = torch.cat([x, y]).sub_(origin(x, y)).mul_(unit)
        of_x, of_y, *_ = ctx.needs_input_grad
        value, gradient = evaluation(kernel, z, len(x), weights, (len(z) if of_y else len(x)) if of_x else 0)
        ctx.save_for_backward(gradient)
        ctx.rows, ctx.unit, ctx.both = len(x), unit, of_y
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] # one output
        (saved,) = ctx.saved_tensors
        slopes = saved * (gradient * ctx.unit)
        of_x, of_y = (slopes[: ctx.rows], slopes[ctx.rows :]) if ctx.both else (slopes, None)
        return of_x, of_y, None, None, None, None
