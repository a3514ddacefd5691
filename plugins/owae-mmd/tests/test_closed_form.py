"""The closed form of the MMD against a standard normal, held against quadrature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from owae.model.defaults import StandardNormal
from owae_mmd import MMD, closed_form
from owae_mmd.kernels import make


@pytest.mark.parametrize("d", [2, 32])
def test_the_closed_form_has_less_noise(d: int):
    torch.manual_seed(0)
    prior = StandardNormal((d,))
    draws = [torch.randn(128, d) for _ in range(100)]
    spreads = [
        torch.tensor([MMD(estimator=estimator).to_prior(x, prior).item() for x in draws]).std()
        for estimator in ("unbiased", "closed-form")
    ]
    assert spreads[1] < 0.8 * spreads[0]


def embedding(scale: float, d: int, norm: float) -> tuple[float, float]:
    """`E k(x, y)` at ‖x‖ = norm and its derivative in ‖x‖², imq, by adaptive quadrature in float64."""
    c = 2 * scale * d

    def integrand(log_t: float, slope: bool) -> float:
        t = math.exp(log_t)
        s = t / c
        value = log_t - t - d / 2 * math.log1p(2 * s) - s * norm**2 / (1 + 2 * s)
        return math.exp(value) * (-s / (1 + 2 * s) if slope else 1.0)

    peak = max(np.linspace(-60, 6, 2000), key=lambda v: integrand(v, False))
    edges = [peak - 60, peak - 12, peak - 4, peak, peak + 4, peak + 12]
    return tuple(
        math.fsum(quad(integrand, a, b, args=(slope,), epsabs=0, epsrel=1e-11, limit=400)[0] for a, b in itertools.pairwise(edges))
        for slope in (False, True)
    )  # pyright: ignore[reportReturnType] # two of them


SCALES, DIMENSIONS, NORMS = (0.05, 0.1, 1.0, 20.0), (1, 2, 37, 1024, 8192), (0.0, 0.3, 1.0, 10.0)


# Each scale meets each dimension, each norm each of both.
@pytest.mark.parametrize(
    ("scale", "d", "times"),
    [(SCALES[(i + j) % len(SCALES)], d, times) for i, d in enumerate(DIMENSIONS) for j, times in enumerate(NORMS)],
)
def test_the_closed_form_is_exact(scale: float, d: int, times: float):
    norm, tolerance = times * math.sqrt(d), 1e-6
    expected, slope = embedding(scale, d, norm)
    for dtype in (torch.float64, torch.float32):
        x = torch.zeros(1, d, dtype=dtype)
        x[0, 0] = norm
        x.requires_grad_()
        value = closed_form.mean_embedding(make("imq", (scale,), 1.0), x)
        value.backward()
        assert value.item() == pytest.approx(expected, rel=tolerance)
        assert x.grad is not None
        assert x.grad[0, 0].item() == pytest.approx(2 * norm * slope, rel=5 * tolerance, abs=1e-12)


def test_the_gaussians_embedding_is_its_own():
    d, scale = 3, 0.5
    x = torch.randn(5, d, dtype=torch.float64)
    s = 1 / (2 * scale * d)
    expected = ((1 + 2 * s) ** (-d / 2) * (-s * x.square().sum(1) / (1 + 2 * s)).exp()).mean()
    torch.testing.assert_close(closed_form.mean_embedding(make("gaussian", (scale,), 1.0), x), expected, rtol=1e-9, atol=0)
