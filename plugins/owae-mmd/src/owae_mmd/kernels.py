"""Kernels as functions of one number: the squared distance `u` in units of a typical squared distance.

Samples reach a kernel rescaled, `u = ‖a − b‖² / 2d` with d the number of elements of an event (or over their median squared distance).
Two draws of N(0, I_d) have mean `u = 1`, so a scale `s` means the same whatever the dimension, and the squared length of the paper's
kernel is `C_s = 2 · s · d`. Every kernel here is a sum over its scales of one shape `κ(u / s)`:

    imq                  1 / (1 + u/s) = C_s / (C_s + ‖a − b‖²)         (Tolstikhin et al. 2018, Sec. 4)
    gaussian             exp(−u/s)
    rational-quadratic   (1 + u/(α s))^−α                               (Bińkowski et al. 2018, Sec. 2.1)
    laplacian            exp(−√(u/s))
    energy               −√u, without a scale: the energy distance      (Székely & Rizzo 2013)

A kernel gives its values in ordinary torch, its values with their slopes `dk/du` in as few passes over memory as can be, its formula for
KeOps, and its decomposition into Gaussians (`owae_mmd.spectra`), from which the closed forms follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from owae_mmd import spectra

Pairs = Float[Tensor, "n m"]

# Up to so many pairs all scales of the imq are taken at once: memory is no matter yet, and the number of operations is what costs time.
AT_ONCE = 2**16


@dataclass(frozen=True)
class Kernel(ABC):
    """A kernel `k(u)`, hashable by its parameters.

    Attributes:
        scales: The scales `s`.
        degree: The power by which values grow with the unit of `u`; 0 for all kernels that have scales.
        smooth: Whether `k` has a finite slope at `u = 0`; without one, small distances must be exact.
    """

    scales: tuple[float, ...]
    degree: ClassVar[float] = 0.0
    smooth: ClassVar[bool] = True

    @property
    def at_zero(self) -> float:
        """`k(0)`, a point's kernel with itself."""
        return float(len(self.scales))

    @abstractmethod
    def __call__(self, u: Pairs) -> Pairs:
        """`k(u)`, differentiable."""

    @abstractmethod
    def evaluate(self, u: Pairs, *, slopes: bool) -> tuple[Pairs, Pairs | None]:
        """`k(u)` and, where asked for, `dk/du`, without a graph. Slopes are 0 at `u = 0` where `k` has a kink."""

    @abstractmethod
    def formula(self, u: str, scale: list[str]) -> str:
        """`k` in KeOps' language, of the squared distance `u` and the scales."""

    @abstractmethod
    def spectrum(self) -> spectra.Spectrum:
        """`k` as a sum of Gaussians."""


class InverseMultiquadratic(Kernel):
    """`Σ_s s / (s + u)`, the paper's."""

    def __call__(self, u: Pairs) -> Pairs:
        return _total(s / (s + u) for s in self.scales)

    def evaluate(self, u: Pairs, *, slopes: bool) -> tuple[Pairs, Pairs | None]:
        if u.numel() <= AT_ONCE:
            scales = u.new_tensor([self.scales])
            inverses = torch.add(scales.T, u.reshape(1, -1)).reciprocal_()
            value = torch.mm(scales, inverses).view_as(u)
            return value, torch.mm(-scales, inverses.square_()).view_as(u) if slopes else None
        value = torch.zeros_like(u)
        slope = torch.zeros_like(u) if slopes else None
        for s in self.scales:
            inverse = torch.add(u, s).reciprocal_()
            value.add_(inverse, alpha=s)
            if slope is not None:
                slope.addcmul_(inverse, inverse, value=-s)
        return value, slope

    def formula(self, u: str, scale: list[str]) -> str:
        return " + ".join(f"{s} * Inv({s} + {u})" for s in scale)

    def spectrum(self) -> spectra.Spectrum:
        return spectra.rational_quadratic(self.scales, 1.0)


class Gaussian(Kernel):
    """`Σ_s exp(−u/s)`."""

    def __call__(self, u: Pairs) -> Pairs:
        return _total((u / -s).exp() for s in self.scales)

    def evaluate(self, u: Pairs, *, slopes: bool) -> tuple[Pairs, Pairs | None]:
        value = torch.zeros_like(u)
        slope = torch.zeros_like(u) if slopes else None
        for s in self.scales:
            term = torch.div(u, -s).exp_()
            value.add_(term)
            if slope is not None:
                slope.add_(term, alpha=-1 / s)
        return value, slope

    def formula(self, u: str, scale: list[str]) -> str:
        return " + ".join(f"Exp(-({u} / {s}))" for s in scale)

    def spectrum(self) -> spectra.Spectrum:
        return spectra.gaussian(self.scales)


@dataclass(frozen=True)
class RationalQuadratic(Kernel):
    """`Σ_s (1 + u/(α s))^−α`; α = 1 is the imq, α → ∞ the Gaussian."""

    alpha: float

    def __call__(self, u: Pairs) -> Pairs:
        return _total((-self.alpha * (u / (self.alpha * s)).log1p()).exp() for s in self.scales)

    def evaluate(self, u: Pairs, *, slopes: bool) -> tuple[Pairs, Pairs | None]:
        value = torch.zeros_like(u)
        slope = torch.zeros_like(u) if slopes else None
        for s in self.scales:
            base = torch.div(u, self.alpha * s)
            term = base.log1p().mul_(-self.alpha).exp_()
            value.add_(term)
            if slope is not None:
                slope.addcdiv_(term, base.add_(1), value=-1 / s)
        return value, slope

    def formula(self, u: str, scale: list[str]) -> str:
        # The exponent is the last of KeOps' parameters: it follows the scales.
        *scales, alpha = scale
        return " + ".join(f"Exp(-({alpha} * Log(IntCst(1) + {u} / ({alpha} * {s}))))" for s in scales)

    def spectrum(self) -> spectra.Spectrum:
        return spectra.rational_quadratic(self.scales, self.alpha)


class Laplacian(Kernel):
    """`Σ_s exp(−√(u/s))`, a kink at 0."""

    smooth = False

    def __call__(self, u: Pairs) -> Pairs:
        distance = _root(u)
        return _total((distance / -(s**0.5)).exp() for s in self.scales)

    def evaluate(self, u: Pairs, *, slopes: bool) -> tuple[Pairs, Pairs | None]:
        distance = u.sqrt()
        value = torch.zeros_like(u)
        slope = torch.zeros_like(u) if slopes else None
        for s in self.scales:
            term = torch.div(distance, -(s**0.5)).exp_()
            value.add_(term)
            if slope is not None:
                slope.add_(term, alpha=-0.5 * s**-0.5)
        return value, None if slope is None else slope.mul_(_inverse(distance, u))

    def formula(self, u: str, scale: list[str]) -> str:
        return " + ".join(f"Exp(-(Sqrt({u}) / Sqrt({s})))" for s in scale)

    def spectrum(self) -> spectra.Spectrum:
        return spectra.laplacian(self.scales)


class Energy(Kernel):
    """`−√u`: the energy distance `2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖`, a kink at 0."""

    degree = 0.5
    smooth = False

    @property
    def at_zero(self) -> float:
        return 0.0

    def __call__(self, u: Pairs) -> Pairs:
        return -_root(u)

    def evaluate(self, u: Pairs, *, slopes: bool) -> tuple[Pairs, Pairs | None]:
        distance = u.sqrt()
        slope = _inverse(distance, u).mul_(-0.5) if slopes else None
        return distance.neg_(), slope

    def formula(self, u: str, scale: list[str]) -> str:
        return f"-Sqrt({u})"

    def spectrum(self) -> spectra.Spectrum:
        return spectra.energy()


def make(name: str, scales: tuple[float, ...], alpha: float) -> Kernel:
    """The kernel of that name, as configs spell it."""
    if name == "rational-quadratic":
        return RationalQuadratic(scales, alpha)
    if name == "energy":
        return Energy(())
    return {"imq": InverseMultiquadratic, "gaussian": Gaussian, "laplacian": Laplacian}[name](scales)


def _total(terms: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _root(u: Tensor) -> Tensor:
    """`√u` whose derivative at 0 is taken as 0."""
    apart = u > 0
    return torch.where(apart, torch.where(apart, u, 1.0).sqrt(), 0.0)


def _inverse(distance: Tensor, u: Tensor) -> Tensor:
    """`1 / distance`, and 0 where `u`, its square, is 0."""
    return distance / u.clamp_min(torch.finfo(u.dtype).tiny)  # a mask would cost several times as much
