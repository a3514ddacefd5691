"""Huber, Bernoulli and SSIM: their contracts, and oracles of other libraries and of integration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, ndimage, stats

from owae.distributions import Dirac, Gaussian
from owae.errors import ConfigError, InputError
from owae.testing import check_cost
from owae_costs.bernoulli import Bernoulli
from owae_costs.huber import Huber
from owae_costs.ssim import Ssim


@pytest.mark.slow  # each takes ten thousand draws
@pytest.mark.parametrize(("cost", "shape"), [(Huber(delta=0.7), (2, 3)), (Bernoulli(), (5,)), (Ssim(), (2, 6, 5))], ids=repr)
def test_contract(cost, shape):
    check_cost(cost, shape=shape)


@pytest.mark.parametrize("delta", [0.1, 2.0])
@pytest.mark.parametrize("deviation", [1e-3, 0.5, 9.0, 11.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 0.3, -6.0])
def test_huber_against_a_gaussian_is_the_integral(delta, deviation, offset):
    def huber(e):
        return e * e / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2)

    # In units of the deviation, piecewise between the kinks, where the quadrature needs it.
    kinks = sorted({-40.0, 40.0, *(min(40.0, max(-40.0, (k - offset) / deviation)) for k in (-delta, delta))})
    oracle = sum(
        integrate.quad(lambda t: huber(offset + deviation * t) * stats.norm.pdf(t), a, b, points=[0.0] if a < 0 < b else None)[0]
        for a, b in itertools.pairwise(kinks)
    )
    for dtype, rel in ((torch.float64, 1e-6), (torch.float32, 2e-3)):
        p = Gaussian(torch.zeros(1, 1, dtype=dtype), torch.full((1, 1), deviation**2, dtype=dtype))
        assert Huber(delta=delta).expected(torch.full((1, 1), offset, dtype=dtype), p).item() == pytest.approx(oracle, rel=rel)


@pytest.mark.parametrize("variance", [0.0, 1e-30, 2e-9, 1e12])
@pytest.mark.parametrize("x", [0.0, 1e-4, 1.0, 1e6])
def test_no_variance_breaks_huber(variance, x):
    mean, spread = torch.zeros(1, 3, requires_grad=True), torch.full((1, 3), variance, requires_grad=True)
    value = Huber().expected(torch.full((1, 3), x), Gaussian(mean, spread))
    for gradient in torch.autograd.grad(value.sum(), (mean, spread)):
        assert gradient.isfinite().all()
    point = Huber()(torch.full((1, 3), x), torch.zeros(1, 3)).item()
    assert value.item() >= point * (1 - 1e-5)  # Jensen
    if variance < 1e-8:
        assert value.item() == pytest.approx(point, rel=1e-4, abs=1e-7)


def test_bernoulli_is_torch_s_cross_entropy_and_stays_finite_beyond_it():
    x, y = torch.rand(4, 7), torch.rand(4, 7) * 0.98 + 0.01
    oracle = torch.nn.functional.binary_cross_entropy(y, x, reduction="none").sum(1)
    torch.testing.assert_close(Bernoulli()(x, y), oracle)
    certain = torch.zeros(1, 1, requires_grad=True)
    value = Bernoulli()(torch.ones(1, 1), certain)
    value.sum().backward()
    assert value.item() == pytest.approx(-math.log(1e-4) + 1, rel=1e-5)
    assert certain.grad is not None
    assert certain.grad.item() == pytest.approx(-1e4, rel=1e-4)


def test_ssim_is_that_of_whole_gaussian_windows():
    """Against scipy's Gaussian filter, cut to where its window of 11 lies within the picture."""
    x = np.random.default_rng(0).random((20, 17))
    y = np.clip(x + 0.2 * np.random.default_rng(1).standard_normal(x.shape), 0, 1)
    mean = lambda a: ndimage.gaussian_filter(a, 1.5, truncate=3.5)[5:-5, 5:-5]  # noqa: E731 # one line of the formula
    u, v = mean(x), mean(y)
    c1, c2 = 0.01**2, 0.03**2
    map_ = (2 * u * v + c1) * (2 * (mean(x * y) - u * v) + c2)
    map_ /= (u * u + v * v + c1) * (mean(x * x) - u * u + mean(y * y) - v * v + c2)
    cost = Ssim()(*(torch.from_numpy(a)[None, None] for a in (x, y)))
    assert cost.item() == pytest.approx(x.size * (1 - map_.mean()), rel=1e-9)
    assert Ssim()(torch.ones(1, 1, 12, 12), torch.ones(1, 1, 12, 12)).item() == pytest.approx(0, abs=1e-4)


def test_refusals_say_what_works():
    with pytest.raises(InputError, match=r"\(C, H, W\)"):
        Ssim()(torch.rand(2, 9), torch.rand(2, 9))
    with pytest.raises(ConfigError, match="odd"):
        Ssim(window=4)
    with pytest.raises(ConfigError, match="above 0"):
        Huber(delta=0.0)
    assert Huber(delta=1.0).expected(torch.zeros(1, 1), Dirac(torch.full((1, 1), 3.0))).item() == 2.5
