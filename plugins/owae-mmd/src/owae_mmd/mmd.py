"""The maximum mean discrepancy between two samples (Gretton et al. 2012), as in Sec. 3 and Tolstikhin et al. 2018.

    MMD²(Q, P) = E k(x, x') + E k(y, y') − 2 E k(x, y)      x, x' ~ Q,  y, y' ~ P

The default kernel is the paper's, `k(a, b) = Σ_s C_s / (C_s + ‖a − b‖²)`, `C_s = 2 · s · d`, with `d` the number of elements of an event of
the matched level. Two draws of N(0, I_d) are at a mean squared distance of 2d, so `s = 1` is a kernel as wide as the prior, whatever
its dimension; the other kernels take their scales in the same unit (`owae_mmd.kernels`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.errors import ConfigError
from owae.interfaces import Divergence, Prior, Shape
from owae.model.defaults import StandardNormal
from owae.tensor_checks import full_precision
from owae_mmd import backends, closed_form, pairs
from owae_mmd.kernels import make

log = logging.getLogger(__name__)

PAPER_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MEDIAN_POINTS = 1024  # of each sample, that the median distance is taken of

KernelName = Literal["imq", "gaussian", "rational-quadratic", "laplacian", "energy"]
Positive = Annotated[float, Field(gt=0)]


class MMD(Divergence):
    """The squared maximum mean discrepancy, without a root: 0 in the mean where the distributions agree.

    The unbiased estimate is negative for about half of all pairs of samples of one distribution: that is right, and nothing is
    clamped. A sample of a single row has no pair with itself; its term is then taken as `k(x, x)`, so that two equal points are at
    distance 0. Events are flattened.

    Args:
        kernel: "imq", the inverse multiquadratic `Σ_s C_s / (C_s + ‖a − b‖²)` with `C_s = 2 · s · d`; "gaussian",
            "rational-quadratic", "laplacian" with the same scales; or "energy", the energy distance, which has none.
        scales: The scales `s`, in units of the prior's own spread or of the `bandwidth`.
        alpha: The exponent of the rational quadratic kernel; 1 is the imq.
        bandwidth: The unit of the scales: "prior" (2d) or "median", the median squared distance between the two samples.
        estimator: "unbiased" (Gretton et al. 2012, Eq. 3), "biased" (Eq. 5, never negative), or "closed-form": against a standard
            normal prior the expectations over it are computed, not sampled; unbiased, and against anything else sampled.
        backend: "dense" holds all pairs; "tiled" holds O(n) numbers in forward and backward; "keops" leaves the tiles to KeOps; "auto"
            chooses by size, device and what is installed, and logs which and why. All give the same numbers.

    Raises:
        ConfigError: Options that do not go together.
        PluginError: The backend cannot be used here (when called); says what to install.
    """

    name = "mmd"

    def __init__(
        self,
        *,
        kernel: KernelName = "imq",
        scales: Sequence[Positive] = PAPER_SCALES,
        alpha: Positive = 1.0,
        bandwidth: Literal["prior", "median"] = "prior",
        estimator: Literal["unbiased", "biased", "closed-form"] = "unbiased",
        backend: Literal["auto", "dense", "tiled", "keops"] = "auto",
    ) -> None:
        super().__init__()
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise ConfigError(f"scales is {tuple(scales)}; an mmd takes one or more positive numbers, such as {PAPER_SCALES}")
        if not 0 < alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; the exponent of a rational quadratic kernel is a positive number")
        if estimator == "closed-form" and bandwidth == "median":
            raise ConfigError('bandwidth = "median" depends on draws, which estimator = "closed-form" has none of; take "prior"')
        self.kernel, self.scales, self.bandwidth = kernel, tuple(scales), bandwidth
        self.estimator, self.backend = estimator, backend
        self._kernel = make(kernel, self.scales, alpha)
        self._said: set[str] = set()

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        x, y = x.flatten(1), y.flatten(1)
        weigh = pairs.biased if self.estimator == "biased" else pairs.unbiased
        return self._pairs(x, y, weigh(len(x), len(y)), self._unit(x, y))

    def to_prior(self, x: Float[Tensor, "n *z"], prior: Prior) -> Float[Tensor, ""]:
        """Against a standard normal with estimator "closed-form": no draws, O(n²) for the sample's own pairs and O(n) for the rest."""
        # A subclass may draw otherwise.
        if self.estimator != "closed-form" or type(prior) is not StandardNormal:
            return super().to_prior(x, prior)
        x = self.checked(x).flatten(1)
        d = x.shape[1]
        own = closed_form.standard_normal(self._kernel, d).self_mean
        with full_precision(x.device):
            within = self._pairs(x, x.new_zeros(0, d), pairs.unbiased(len(x), 0), (2 * d) ** -0.5)
            return within + (own - 2 * closed_form.mean_embedding(self._kernel, x)) * (2 * d) ** self._kernel.degree

    def _pairs(self, x: Tensor, y: Tensor, weights: pairs.Weights, unit: float) -> Tensor:
        name, why = backends.choose(self.backend, len(x) + len(y), x.device)
        message = f"mmd: backend '{name}' ({why})"
        if message not in self._said:
            self._said.add(message)
            log.info("%s", message)
        value = backends.PAIR_SUMS[name](self._kernel, x, y, weights, unit)
        return value * unit ** (-2 * self._kernel.degree) if self._kernel.degree else value

    def _unit(self, x: Tensor, y: Tensor) -> float:
        """The factor that turns `‖a − b‖²` into the kernels' `u`, rooted."""
        prior = (2 * x.shape[1]) ** -0.5
        if self.bandwidth == "prior":
            return prior
        some_x, some_y = (sample.detach()[:MEDIAN_POINTS] for sample in (x, y))
        median = torch.cdist(some_x, some_y, compute_mode="donot_use_mm_for_euclid_dist").median().item()
        return 1 / median if median > 0 else prior  # equal samples have no distance; any unit will do

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        unit = "the prior's: 2d = " + str(2 * math.prod(shape)) if self.bandwidth == "prior" else "the median squared distance"
        scales: dict[str, str | float | list[float]] = (
            {} if self.kernel == "energy" else {"scales": list(self.scales), "unit": unit}
        )
        return {
            "divergence": self.name,
            "kernel": self.kernel,
            **scales,
            "estimator": self.estimator,
            "root": "no: a squared distance"
            + ("" if self.estimator == "biased" else ", negative for about half of all null draws"),
            "backend": self.backend,
        }
