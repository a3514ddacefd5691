"""The defaults: costs, priors, and what the contract's own default methods do."""

from __future__ import annotations

import torch
from toys import Affine, Bounded, Moments

from owae.distributions import Dirac, Gaussian
from owae.model.defaults import Ancestral, Euclidean, SquaredEuclidean, StandardNormal


def test_costs_sum_over_the_event():
    x, y = torch.zeros(2, 2, 2), torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert SquaredEuclidean()(x, y).tolist() == [25.0, 0.0]
    assert Euclidean()(x, y).tolist() == [5.0, 0.0]
    assert SquaredEuclidean().expected(x, Gaussian(y, torch.ones_like(y))).tolist() == [29.0, 4.0]


def test_the_euclidean_costs_gradient_is_the_direction_and_zero_at_equality():
    x = torch.tensor([[3.0, 4.0], [1.0, 1.0]], requires_grad=True)
    y = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    Euclidean()(x, y).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_expected_defaults_to_one_draw():
    x, p = torch.randn(4, 3), Gaussian(torch.randn(4, 3), torch.ones(4, 3))
    torch.manual_seed(0)
    found = Bounded().expected(x, p)
    torch.manual_seed(0)
    assert torch.equal(found, Bounded()(x, p.rsample()))


def test_to_prior_defaults_to_as_many_fresh_draws():
    x, prior = torch.randn(6, 3), StandardNormal((3,))
    torch.manual_seed(0)
    found = Moments().to_prior(x, prior)
    again = Moments().to_prior(x, prior)
    torch.manual_seed(0)
    assert torch.equal(found, Moments()(x, prior.sample(6)))
    assert not torch.equal(found, again)


def test_the_standard_normal_is_one():
    torch.manual_seed(0)
    draws = StandardNormal((2, 3)).sample(50_000)
    assert draws.mean(0).abs().max() < 0.025
    assert (draws.var(0) - 1).abs().max() < 0.04


def ancestral() -> Ancestral:
    return Ancestral([Affine((4,), latent=3), Affine((3,), latent=2)], StandardNormal((2,)))


def test_the_ancestral_prior_decodes_downward_with_noise():
    prior = ancestral()
    assert prior.shape == (4,)
    torch.manual_seed(0)
    found = prior.sample(5)
    torch.manual_seed(0)
    z = torch.randn(5, 2)
    for layer in reversed(prior.layers):
        assert isinstance(layer, Affine)
        z = layer.decode(z).rsample()
    assert torch.equal(found, z)


def test_the_ancestral_priors_gradient_reaches_the_decoders_alone():
    prior = ancestral()
    prior.sample(5).square().sum().backward()
    reached = {name for name, parameter in prior.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert reached == {name for name, _ in prior.named_parameters() if ".down." in name}


def test_the_ancestral_prior_of_no_layers_is_the_prior():
    prior = Ancestral([], StandardNormal((2,)))
    assert prior.shape == (2,)
    assert prior.sample(3).shape == (3, 2)


def test_priors_move():
    assert ancestral().double().sample(2).dtype == torch.float64
    assert "anchor" not in StandardNormal((2,)).state_dict()


def test_expected_over_a_dirac_is_the_cost():
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    for cost in (SquaredEuclidean(), Euclidean(), Bounded()):
        torch.testing.assert_close(cost.expected(x, Dirac(y)), cost(x, y))
