"""The two distributions: moments, draws, gradients at the bounds, precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from owae.distributions import LOGIT_BOUNDS, Dirac, Distribution, Gaussian, at_least_float32


def test_a_networks_output_is_split_along_the_first_event_axis():
    output = torch.randn(5, 6, 4, 3)
    q = Gaussian.from_network(output)
    assert torch.equal(q.mean, output[:, :3])
    torch.testing.assert_close(q.variance, F.softplus(output[:, 3:]))


@pytest.mark.parametrize("logit", [-1e30, -1e4, -20.0, 0.0, 20.0, 500.0, 1e4, 1e30])
def test_variance_of_any_logit_is_positive_and_finite_with_finite_gradients(logit):
    output = torch.tensor([[0.0, logit]], requires_grad=True)
    q = Gaussian.from_network(output)
    low, high = (F.softplus(torch.tensor(bound)).item() for bound in LOGIT_BOUNDS)
    assert 0 < low <= q.variance.item() <= high
    (q.rsample() + q.variance.log() + q.variance.sqrt()).sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()


def test_draws_have_the_moments():
    torch.manual_seed(0)
    mean, variance = torch.tensor([[0.0, -3.0, 5.0]]), torch.tensor([[1.0, 0.01, 4.0]])
    draws = Gaussian(mean.expand(100_000, 3), variance.expand(100_000, 3)).rsample()
    assert ((draws.mean(0) - mean[0]).abs() < 5 * (variance[0] / 1e5).sqrt()).all()
    torch.testing.assert_close(draws.var(0), variance[0], rtol=0.03, atol=0)


def test_draws_are_reparameterised():
    mean, variance = torch.zeros(4, 2, requires_grad=True), torch.full((4, 2), 4.0, requires_grad=True)
    torch.manual_seed(0)
    draw = Gaussian(mean, variance).rsample()
    torch.manual_seed(0)
    noise = torch.randn(4, 2)
    torch.testing.assert_close(draw, 2 * noise)
    by_mean, by_variance = torch.autograd.grad(draw.sum(), (mean, variance))
    assert torch.equal(by_mean, torch.ones(4, 2))
    torch.testing.assert_close(by_variance, noise / 4)  # d sqrt(v) / dv = 1 / (2 sqrt(v))


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float16, 32), (torch.bfloat16, 32), (torch.float32, 32), (torch.float64, 64)]
)
def test_moments_are_float32_at_least(dtype, expected):
    wide = {32: torch.float32, 64: torch.float64}[expected]
    output = torch.randn(3, 4).to(dtype)
    for p in [Gaussian.from_network(output), Gaussian(output, output.exp()), Dirac(output)]:
        assert p.mean.dtype == p.variance.dtype == p.rsample().dtype == wide


def test_at_least_float32_leaves_the_rest_alone():
    for dtype in (torch.float32, torch.float64, torch.int64, torch.uint8):
        x = torch.ones(2, dtype=dtype)
        assert at_least_float32(x) is x


def test_a_dirac_is_its_mean():
    mean = torch.randn(3, 2, 2, requires_grad=True)
    p = Dirac(mean)
    assert torch.equal(p.rsample(), mean)
    assert p.variance.shape == mean.shape
    assert not p.variance.any()
    p.rsample().sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones_like(mean))


def test_anything_with_the_three_members_is_a_distribution():
    assert isinstance(Gaussian(torch.zeros(1, 1), torch.ones(1, 1)), Distribution)
    assert isinstance(Dirac(torch.zeros(1, 1)), Distribution)
    assert not isinstance(torch.zeros(1), Distribution)
