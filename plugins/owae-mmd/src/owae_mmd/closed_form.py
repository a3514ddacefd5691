"""Kernels against N(0, I) without drawing from it (method page, Sec. 7).

A Gaussian's mean over `y ~ N(0, I_d)` is known, `E exp(−τ‖x − y‖²) = (1 + 2τ)^(−d/2) exp(−τ‖x‖² / (1 + 2τ))`. With the kernel as a sum of
Gaussians of rates `τ_q = σ_q / 2d` (`owae_mmd.spectra`) and `U = ‖x‖² / 2d` this gives the kernel's mean embedding and its own mean,

    E k(x, y)  = Σ_q w_q (exp(−c_q − b_q U) − a)     b_q = σ_q / (1 + σ_q/d),   c_q = d/2 · log(1 + σ_q/d)
    E k(y, y') = Σ_q w_q ((1 + 2σ_q/d)^(−d/2) − a)

in O(n) operations a node, and none of the prior's sampling noise. Each term is at most its weight, so nothing overflows in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from owae_mmd.kernels import Kernel
from owae_mmd.spectra import SMALLEST_TERM

ELEMENTS = 2**18  # of rows × nodes held at once


@dataclass(frozen=True)
class Embedding:
    """The mean embedding of N(0, I_d) as numbers.

    Attributes:
        rates: `b_q`.
        offsets: `c_q`.
        weights: `w_q`.
        anchored: `a`.
        self_mean: `E k(y, y')`.
    """

    rates: tuple[float, ...]
    offsets: tuple[float, ...]
    weights: tuple[float, ...]
    anchored: bool
    self_mean: float


@lru_cache(maxsize=64)
def standard_normal(kernel: Kernel, dimension: int) -> Embedding:
    """The embedding of N(0, I_d) under a kernel of `‖a − b‖² / 2d`."""
    d, spectrum = dimension, kernel.spectrum()
    nodes = list(zip(spectrum.rates, spectrum.weights, strict=True))
    if spectrum.anchored:
        self_mean = math.fsum(w * math.expm1(-d / 2 * math.log1p(2 * rate / d)) for rate, w in nodes)
    else:
        self_mean = math.fsum(w * math.exp(-d / 2 * math.log1p(2 * rate / d)) for rate, w in nodes)
        nodes = _without_negligible(nodes, d)
    return Embedding(
        rates=tuple(rate / (1 + rate / d) for rate, _ in nodes),
        offsets=tuple(d / 2 * math.log1p(rate / d) for rate, _ in nodes),
        weights=tuple(w for _, w in nodes),
        anchored=spectrum.anchored,
        self_mean=self_mean,
    )


def _without_negligible(nodes: list[tuple[float, float]], d: int) -> list[tuple[float, float]]:
    """The nodes without the fast ones that add nothing at `U = 0`, and so even less beyond."""
    terms = [w * math.exp(-d / 2 * math.log1p(rate / d)) for rate, w in nodes]
    spare = SMALLEST_TERM * math.fsum(terms)
    kept = len(nodes)
    while kept > 1 and (spare := spare - terms[kept - 1]) > 0:
        kept -= 1
    return nodes[:kept]


def mean_embedding(kernel: Kernel, x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The mean over the rows of `x` of `E k(x, y)`, `y ~ N(0, I)`, for a kernel of `‖x − y‖² / 2d`."""
    embedding = standard_normal(kernel, x.shape[1])
    return _MeanEmbedding.apply(x.square().sum(1) / (2 * x.shape[1]), embedding)  # pyright: ignore[reportReturnType] # apply is untyped


class _MeanEmbedding(torch.autograd.Function):
    """Values and slopes in one pass over blocks of rows, so that no n × nodes matrix is kept for the backward pass."""

    @staticmethod
    def forward(ctx, u: Tensor, embedding: Embedding) -> Tensor:
        rates, offsets, weights = (u.new_tensor(column) for column in (embedding.rates, embedding.offsets, embedding.weights))
        values, slopes = torch.empty_like(u), torch.empty_like(u)
        size = max(1, ELEMENTS // len(rates))
        for block, value, slope in zip(u.split(size), values.split(size), slopes.split(size), strict=True):
            exponent = torch.addcmul(offsets, block[:, None], rates).neg_()
            overlap = exponent.exp()
            torch.mv(exponent.expm1_() if embedding.anchored else overlap, weights, out=value)
            torch.mv(overlap, weights * rates, out=slope)
        ctx.save_for_backward(slopes.neg_())
        return values.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride] # one output
        (slopes,) = ctx.saved_tensors
        return gradient * slopes / len(slopes), None
