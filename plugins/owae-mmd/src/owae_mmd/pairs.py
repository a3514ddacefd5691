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


Gradients = tuple[Tensor | None, Tensor | None]
PairSum = Callable[[Kernel, Tensor, Tensor, Weights], Tensor]
"""`V` of `x` (n, d) and `y` (m, d), differentiable in both."""

Evaluation = Callable[[Kernel, Tensor, Tensor, Weights, tuple[bool, bool]], tuple[Tensor, Gradients]]
"""`V` and its gradients in `x` and in `y`, those that are asked for, in one pass and without a graph."""


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


def with_gradients(evaluation: Evaluation) -> PairSum:
    """Makes a differentiable pair sum of a function that computes gradients along with the value."""

    def pair_sum(kernel: Kernel, x: Tensor, y: Tensor, weights: Weights) -> Tensor:
        return _Evaluated.apply(x, y, kernel, weights, evaluation)  # pyright: ignore[reportReturnType] # apply is untyped

    return pair_sum


class _Evaluated(torch.autograd.Function):
    """Computes gradients in the forward pass, so nothing of size n² is kept. A second derivative is refused."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, kernel: Kernel, weights: Weights, evaluation: Evaluation) -> Tensor:
        needed = (ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        value, gradients = evaluation(kernel, x, y, weights, needed)
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] # one output
        return *(None if saved is None else gradient * saved for saved in ctx.saved_tensors), None, None, None
