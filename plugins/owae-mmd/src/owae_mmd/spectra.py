"""Kernels as sums of Gaussians, `k(u) ≈ Σ_q w_q exp(−σ_q u)`, to a relative error below 1e-8 at every `u`.

Each of our kernels is a mixture of Gaussians over their rate, `k(u) = ∫ ρ(σ) exp(−σu) dσ` with `ρ ≥ 0` (method page, Sec. 7). With
`σ = e^v` the integrand is analytic and dies out on both sides, so the trapezoidal rule of step `h` in `v` converges
geometrically. Poisson's summation formula gives its relative error, which does not depend on `u` for the algebraic kernels, because
a change of `u` only shifts the integrand along `v`:

    (1 + u/(αs))^−α    2 |Γ(α + iω) / Γ(α)|         ω = 2π/h; α = 1, h = 0.4: 4e-10
    exp(−√(u/s))       2 |K_{½+iω}(z) / K_½(z)|     z = √(u/s); h = 0.15: below 1e-9 for z < 45, below 1e-18 in absolute terms beyond
    −√u                2 |Γ(−½ + iω) / Γ(−½)|       h = 0.35: below 1e-9

Gauss–Laguerre rules, which have the same cost, lose all digits for narrow kernels. Being uniform in `u`, the error bound carries over to
every expectation of the kernel, whatever the distribution. All scales of a kernel share one set of nodes. Everything here is a few hundred
Python floats, made once for each kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

LARGEST = 5e5  # the largest `u` with full relative accuracy: points at a thousand standard deviations of the prior
SMALLEST_TERM = 1e-10


@dataclass(frozen=True)
class Spectrum:
    """`k(u) = Σ_q w_q (exp(−σ_q u) − a)` with `a` = 1 if `anchored` (kernels that are 0 at `u = 0`) and 0 otherwise."""

    rates: tuple[float, ...]
    weights: tuple[float, ...]
    anchored: bool = False


def gaussian(scales: tuple[float, ...]) -> Spectrum:
    """`Σ_s exp(−u/s)`: its own spectrum."""
    return Spectrum(tuple(1 / s for s in scales), (1.0,) * len(scales))


def rational_quadratic(scales: tuple[float, ...], alpha: float) -> Spectrum:
    """`Σ_s (1 + u/(αs))^−α`: a Gamma mixture, `ρ_s(σ) = (αs)^α σ^(α−1) exp(−αsσ) / Γ(α)`."""
    step = _gamma_step(alpha)

    def weight(log_rate: float) -> float:
        return sum(
            math.exp(alpha * (math.log(alpha * s) + log_rate) - alpha * s * math.exp(log_rate) - math.lgamma(alpha)) for s in scales
        )

    low = math.log(1e-6 / (LARGEST + alpha * max(scales)))
    high = math.log((alpha + 10 * math.sqrt(alpha) + 30) / (alpha * min(scales)))
    rates, weights = _trapezoid(weight, low, high, step)
    # Nodes further left have a rate that is as good as 0 and weights in geometric progression: their sum is one constant.
    ratio = math.exp(-alpha * step)
    return Spectrum((0.0, *rates), (weights[0] * ratio / (1 - ratio), *weights))


def laplacian(scales: tuple[float, ...]) -> Spectrum:
    """`Σ_s exp(−√(u/s))`: a Lévy mixture, `ρ(t) = t^(−3/2) exp(−1/(4t)) / (2√π)` with `t = σs`."""

    def weight(log_rate: float) -> float:
        logs = (log_rate + math.log(s) for s in scales)
        return sum(math.exp(-log / 2 - math.exp(-log) / 4) for log in logs) / (2 * math.sqrt(math.pi))

    low = math.log(1 / (600 * max(scales)))
    high = math.log(1e18 / min(scales))
    return Spectrum(*_trapezoid(weight, low, high, 0.15))


def energy() -> Spectrum:
    """`−√u = ∫ (exp(−σu) − 1) σ^(−3/2) dσ / (2√π)`."""

    def weight(log_rate: float) -> float:
        return math.exp(-log_rate / 2) / (2 * math.sqrt(math.pi))

    step = 0.35
    rates, weights = _trapezoid(weight, math.log(1e-18 / LARGEST), math.log(1e12), step)
    # Nodes further right see no overlap at all: a constant once more, at a rate beyond all others.
    ratio = math.exp(-step / 2)
    return Spectrum((*rates, 1e30), (*weights, weights[-1] * ratio / (1 - ratio)), anchored=True)


def _gamma_step(alpha: float) -> float:
    """The widest step, 0.4 at most, with which the rule for a Gamma mixture errs by less than 1e-9."""
    step = 0.4
    # |Γ(α + iω) / Γ(α)|² = Π_k 1 / (1 + ω²/(α + k)²), k = 0, 1, …: cut off, the product is an upper bound.
    while math.fsum(math.log1p((2 * math.pi / (step * (alpha + k))) ** 2) for k in range(2000)) < 2 * math.log(2e9):
        step *= 0.95
    return step


def _trapezoid(
    weight: Callable[[float], float], low: float, high: float, step: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates and weights of the trapezoidal rule in the logarithm of the rate."""
    logs = [low + step * i for i in range(math.ceil((high - low) / step) + 1)]
    return tuple(math.exp(log) for log in logs), tuple(step * weight(log) for log in logs)
