"""The maximum mean discrepancy between two samples (Gretton et al. 2012), as in Sec. 3 and Tolstikhin et al. 2018.

    MMD²(Q, P) = E k(x, x') + E k(y, y') − 2 E k(x, y)      x, x' ~ Q,  y, y' ~ P

with `k(a, b) = Σ_s C_s / (C_s + ‖a − b‖²)`, `C_s = 2 · s · d` and `d` the number of elements of an event. Two draws of N(0, I_d)
are at a mean squared distance of 2d, so `s = 1` is a kernel as wide as the prior, whatever its dimension.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from owae.errors import ConfigError
from owae.interfaces import Divergence, Shape

PAPER_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMD(Divergence):
    """The squared maximum mean discrepancy, without a root: 0 in the mean where the distributions agree.

    The estimator is unbiased, so its value is negative for about half of all pairs of samples of one distribution: that is
    right, and nothing is clamped. A single row has no pair with itself; its term is then taken as `k(x, x)`, so that two equal
    points are at distance 0. Events are flattened.

    Args:
        kernel: "imq", the inverse multiquadratic `Σ_s C_s / (C_s + ‖a − b‖²)` with `C_s = 2 · s · d`.
        scales: The scales `s`, in units of the prior's own spread.
        estimator: "unbiased".
        backend: "dense".
    """

    name = "mmd"

    def __init__(
        self,
        *,
        kernel: Literal["imq"] = "imq",
        scales: tuple[float, ...] = PAPER_SCALES,
        estimator: Literal["unbiased"] = "unbiased",
        backend: Literal["dense"] = "dense",
    ) -> None:
        super().__init__()
        if not scales or any(not 0 < scale < float("inf") for scale in scales):
            raise ConfigError(f"scales is {scales}; an mmd takes one or more positive numbers, such as {PAPER_SCALES}")
        self.kernel, self.scales, self.estimator, self.backend = kernel, tuple(scales), estimator, backend

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        x, y = _standardised(x.flatten(1), y.flatten(1))
        n, m = len(x), len(y)
        within = self._within(x) + self._within(y)
        return within - 2 / (n * m) * self._kernel(_squared_distances(x, y)).sum()

    def _within(self, x: Tensor) -> Tensor:
        n = len(x)
        if n == 1:
            return x.sum() * 0 + len(self.scales)
        kernel = self._kernel(_squared_distances(x, x))
        return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))

    def _kernel(self, squared: Tensor) -> Tensor:
        total = torch.zeros_like(squared)
        for scale in self.scales:
            total = total + scale / (scale + squared)
        return total

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "kernel": self.kernel,
            "scales": list(self.scales),
            "estimator": self.estimator,
            "root": "no: a squared distance, negative for about half of all null draws",
            "backend": self.backend,
        }


def _standardised(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both clouds about their common centre, in units in which two draws of N(0, I) are at mean squared distance 1."""
    centre = (x.detach().mean(0) * len(x) + y.detach().mean(0) * len(y)) / (len(x) + len(y))
    unit = (2 * x.shape[1]) ** -0.5
    return (x - centre) * unit, (y - centre) * unit


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    expanded = a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2 * a @ b.T
    return expanded.clamp_min(0)
