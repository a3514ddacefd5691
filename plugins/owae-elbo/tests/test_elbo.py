"""The stack with these terms is the negative evidence lower bound of the Markov hierarchical VAE."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from owae.distributions import Dirac, Distribution, Gaussian
from owae.model.defaults import StandardNormal
from owae.model.stack import Level, Stack
from owae.testing import check_cost, check_divergence, check_regulariser
from owae_elbo.terms import CrossEntropy, Entropy, GaussianNLL
from owae_layers.mlp import MLP


def test_contracts():
    check_cost(GaussianNLL(), expectation=False)
    check_cost(GaussianNLL(variance=0.1), expectation=False, shape=(5,))
    check_regulariser(Entropy())
    check_divergence(CrossEntropy(), zero_at_equality=False)
    check_divergence(CrossEntropy(), zero_at_equality=False, shape=(2, 3, 3))


def torchs(p: Distribution, variance: float = 1.0) -> Independent:
    """The same distribution in `torch.distributions`."""
    scale = torch.where(p.variance > 0, p.variance, variance).sqrt()
    return Independent(Normal(p.mean, scale), p.mean.ndim - 1)


@pytest.mark.parametrize("output", ["linear", "sigmoid"])
@pytest.mark.parametrize("variance", [1.0, 0.05])
def test_the_loss_is_the_negative_elbo(output, variance):
    torch.manual_seed(0)
    layers = [
        MLP((1, 4, 4), latent=5, hidden=[16], output=output),
        MLP((5,), latent=3, hidden=[8]),
        MLP((3,), latent=2, hidden=[8]),
    ]
    levels = [Level(layer, cost=GaussianNLL(variance=variance), regulariser=Entropy()) for layer in layers]
    stack = Stack(levels, divergence=CrossEntropy(), weights=[1.0, 1.0, 1.0])
    x = torch.rand(8, 1, 4, 4)
    torch.manual_seed(1)
    objective = stack(x)

    torch.manual_seed(1)
    bound, z = torch.zeros(8), x
    for layer in layers:
        q = layer.encode(z)
        code = q.rsample()
        bound = bound + torchs(layer.decode(code), variance).log_prob(z) + torchs(q).entropy()
        z = code
    bound = bound + Independent(Normal(torch.zeros(2), torch.ones(2)), 1).log_prob(z)
    torch.testing.assert_close(objective.loss, -bound.mean())
    objective.loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in stack.parameters())


def test_nll_by_hand():
    x, mean = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]])
    expected = 0.5 * (1 / 4 + math.log(4) + 4 / 9 + math.log(9) + 2 * math.log(2 * math.pi))
    p = Gaussian(mean, torch.tensor([[4.0, 9.0]]))
    assert GaussianNLL().expected(x, p).item() == pytest.approx(expected)
    fixed = 0.5 * (5 / 0.5 + 2 * math.log(0.5) + 2 * math.log(2 * math.pi))
    assert GaussianNLL(variance=0.5).expected(x, Dirac(mean)).item() == pytest.approx(fixed)
    assert GaussianNLL(variance=0.5)(x, mean).item() == pytest.approx(fixed)


def test_entropy_of_a_deterministic_encoder_is_refused():
    with pytest.raises(ValueError, match="entropy needs an encoder with noise"):
        Entropy()(Dirac(torch.zeros(2, 3)))


def test_cross_entropy_against_the_standard_normal_draws_nothing():
    x = torch.randn(16, 3)
    before = torch.get_rng_state()
    value = CrossEntropy().to_prior(x, StandardNormal((3,)))
    assert torch.equal(torch.get_rng_state(), before)
    assert value.item() == pytest.approx(-Normal(0.0, 1.0).log_prob(x).sum(1).mean().item(), rel=1e-5)


def test_cross_entropy_between_samples_is_that_of_their_gaussian():
    x, y = torch.randn(16, 3), 2 * torch.randn(4000, 3) + 1
    reference = Normal(y.mean(0), y.std(0, correction=0))
    assert CrossEntropy()(x, y).item() == pytest.approx(-reference.log_prob(x).sum(1).mean().item(), rel=1e-5)
