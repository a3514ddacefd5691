"""Costs of counts, against scipy's probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

import owae
from owae.data.sources import TensorSource
from owae.errors import ConfigError
from owae.testing import check_cost
from owae_costs.counts import LEAST, NegativeBinomial, Poisson, rates

COUNTS = torch.tensor([[0.0, 1.0, 7.0], [300.0, 2.0, 0.0]], dtype=torch.float64)
MEANS = torch.tensor([[0.5, 3.0, 7.0], [250.0, 0.02, 90.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    "cost", [Poisson(), NegativeBinomial(), NegativeBinomial(dispersions=5, dispersion=3.0)], ids=lambda cost: cost.name
)
def test_contract(cost):
    check_cost(cost, shape=(5,))


def test_poisson_is_the_likelihood_less_its_greatest_value():
    likelihood = stats.poisson.logpmf(COUNTS, MEANS).sum(1)
    greatest = stats.poisson.logpmf(COUNTS, COUNTS).sum(1)
    assert Poisson()(COUNTS, MEANS).tolist() == pytest.approx(greatest - likelihood)
    assert Poisson()(COUNTS, COUNTS).max() < 0.008


@pytest.mark.parametrize("theta", [0.2, 1.0, 50.0])
def test_negative_binomial_is_the_likelihood(theta):
    cost = NegativeBinomial(dispersion=theta).double()
    expected = -stats.nbinom.logpmf(COUNTS, theta, theta / (theta + MEANS)).sum(1)
    assert cost(COUNTS, MEANS).tolist() == pytest.approx(expected, rel=1e-5)


def test_rates_are_positive_and_rise_without_a_break():
    y = torch.linspace(-0.05, 0.05, 1001, dtype=torch.float64)
    rate, log_rate = rates(y)
    assert (rate > 0).all()
    torch.testing.assert_close(rate.log(), log_rate)
    assert (log_rate.diff() > 0).all()
    at = [rates(torch.tensor(LEAST + e, dtype=torch.float64))[0].item() for e in (-1e-7, 1e-7)]
    assert (at[1] - at[0]) / 2e-7 == pytest.approx(1.0, abs=1e-3)


def test_the_dispersion_is_learnt_with_the_stack():
    """Counts of known dispersion, which a stack of constants has nothing to say of, bring it to its value."""
    torch.manual_seed(0)
    counts = torch.poisson(torch.distributions.Gamma(2.0, 2.0 / 10.0).sample((1000, 1)).expand(-1, 1))
    cost = NegativeBinomial(dispersion=20.0)
    mean = torch.tensor(10.0)
    optimizer = torch.optim.Adam(cost.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        cost(counts, mean.expand_as(counts)).mean().backward()
        optimizer.step()
    assert cost.log_dispersions.exp().item() == pytest.approx(2.0, rel=0.15)
    from owae_layers import MLP
    from owae_mmd import MMD

    level = owae.Level(MLP((3,), latent=1, hidden=[8], decoder="deterministic"), cost=NegativeBinomial())
    stack = owae.Stack([level], divergence=MMD(), weights=[1.0])
    for _ in owae.fit(stack, TensorSource(torch.poisson(torch.full((64, 3), 4.0)), None), epochs=2, batch_size=32, device="cpu"):
        pass
    (learnt,) = level.cost.parameters()
    assert learnt.item() != math.log(1.0)
    assert any("log_dispersions" in key for key in stack.state_dict())


def test_another_number_of_dispersions_is_refused():
    with pytest.raises(ConfigError, match="dispersions is 2, but an event has 3 numbers"):
        NegativeBinomial(dispersions=2)(COUNTS, MEANS)
