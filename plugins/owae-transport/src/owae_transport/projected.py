"""`φ_D(s) = E exp(−s θ₁²)` for θ uniform on the unit sphere of R^D: a Gaussian of width 1/s, averaged over lines.

It is Kummer's function `₁F₁(1/2; D/2; −s)`. Knop et al. (2020) replace it by `(1 + 4s/(2D−3))^{−1/2}`, the limit of large D,
off by up to 30% at D = 2, 3% at D = 8, 0.6% at D = 32. The quotient of the two is a smooth function of `w = s/(s + D)` on
[0, 1]; its Chebyshev series, some 10 terms for D ≥ 8 and 30 at D = 2, makes the formula exact for every s. D = 1 is `exp(−s)`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def projected_gaussian(s: Float[Tensor, "*any"], dimension: int, *, exact: bool) -> Float[Tensor, "*any"]:
    """`φ_D(s)` for s ≥ 0, or Knop et al.'s approximation of it, which D = 1 does not have."""
    if dimension == 1:
        return torch.exp(-s)
    if not exact:
        return (1 + 4 * s / (2 * dimension - 3)).rsqrt()
    return _Projected.apply(s, dimension)  # pyright: ignore[reportReturnType] # apply has no type


class _Projected(torch.autograd.Function):
    """The exact function. Its derivative is computed along with it, so that one tensor is kept instead of one a term."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, dimension: int) -> Tensor:
        terms, derived = series(dimension, 1e-12 if s.dtype == torch.float64 else 1e-8)
        rate = 4 / (2 * dimension - 3)
        w = s / (s + dimension)
        root = (1 + rate * s).rsqrt()
        quotient = _polynomial(terms, w)
        if ctx.needs_input_grad[0]:
            slope = _polynomial(derived, w) * (1 - w).square() / dimension
            ctx.save_for_backward(root * slope - quotient * root.pow(3) * (rate / 2))
        return root * quotient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride] # as documented
        (slope,) = ctx.saved_tensors
        return gradient * slope, None


def _polynomial(terms: tuple[float, ...], w: Tensor) -> Tensor:
    """A Chebyshev series on [0, 1] (Clenshaw)."""
    doubled = 4 * w - 2
    ahead, current = torch.zeros_like(w), torch.zeros_like(w)
    for term in terms[:0:-1]:
        ahead, current = current, torch.addcmul(-ahead, doubled, current).add_(term)
    return torch.addcmul(-ahead, doubled / 2, current).add_(terms[0])


@lru_cache(maxsize=64)
def series(dimension: int, tolerance: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Chebyshev coefficients of the quotient as a function of w on [0, 1], and of its derivative; within the tolerance."""
    import numpy as np
    from numpy.polynomial import chebyshev
    from scipy.special import hyp1f1

    nodes = np.cos(np.pi * (np.arange(96) + 0.5) / 96)
    w = (nodes + 1) / 2
    s = dimension * w / (1 - w)
    quotient = hyp1f1(0.5, dimension / 2, -s) * np.sqrt(1 + 4 * s / (2 * dimension - 3))
    terms = chebyshev.chebfit(nodes, quotient, 95)
    left_out = np.abs(terms)[::-1].cumsum()[::-1]
    kept = terms[: max(2, int(np.argmax(left_out < tolerance)))]
    return tuple(kept.tolist()), tuple((2 * chebyshev.chebder(kept)).tolist())
