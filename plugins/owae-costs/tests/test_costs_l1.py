"""The l1 distance: its contract, its closed form by hand, and what is asked of it at the edges."""

from __future__ import annotations

import math

import pytest
import torch

from owae.distributions import Dirac, Gaussian
from owae.testing import check_cost
from owae_costs.absolute import L1


@pytest.mark.parametrize("shape", [(2, 4, 4), (5,), (1, 1)])
def test_contract(shape):
    check_cost(L1(), shape=shape)


def test_by_hand():
    x, y = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[0.0, 1.0], [0.5, -4.0]])
    assert L1()(x, y).tolist() == [4.0, 4.0]
    assert L1().expected(x, Dirac(y)).tolist() == [4.0, 4.0]
    standard = Gaussian(torch.zeros(1, 1), torch.ones(1, 1))
    assert L1().expected(torch.zeros(1, 1), standard).item() == pytest.approx(math.sqrt(2 / math.pi))
    # E|1 − N(0, 1)| = 2 φ(1) + 2 Φ(1) − 1
    assert L1().expected(torch.ones(1, 1), standard).item() == pytest.approx(2 * 0.24197072 + 2 * 0.84134475 - 1)


def test_the_closed_form_draws_nothing_and_others_are_drawn():
    x, p = torch.randn(3, 2), Gaussian(torch.randn(3, 2), torch.rand(3, 2) + 0.1)
    before = torch.get_rng_state()
    L1().expected(x, p)
    assert torch.equal(torch.get_rng_state(), before)

    class Laplace:
        mean, variance = torch.zeros(4, 2), torch.full((4, 2), 2.0)

        def rsample(self):
            return torch.full((4, 2), 7.0)

    assert L1().expected(torch.zeros(4, 2), Laplace()).tolist() == [14.0] * 4


@pytest.mark.parametrize("variance", [0.0, 2e-9, 1e-30, 1e12])
@pytest.mark.parametrize("x", [0.0, 1e-4, 1.0, 1e6])
def test_no_variance_breaks_value_or_gradient(variance, x):
    mean = torch.zeros(1, 3, requires_grad=True)
    spread = torch.full((1, 3), variance, requires_grad=True)
    value = L1().expected(torch.full((1, 3), x), Gaussian(mean, spread))
    value.sum().backward()
    assert mean.grad is not None
    assert spread.grad is not None
    assert mean.grad.isfinite().all()
    assert spread.grad.isfinite().all()
    assert value.item() >= 3 * x * (1 - 1e-6)  # Jensen: no less than the distance from the mean
    if variance < x * x / 100:
        assert value.item() == pytest.approx(3 * x, rel=1e-4)
