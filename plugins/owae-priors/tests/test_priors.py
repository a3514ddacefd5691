"""The priors: their contract, their moments, and what expectation maximisation finds."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from owae import Registry
from owae.errors import ConfigError, DataError, InputError
from owae.registry.options import options_model, validated
from owae.testing import check_prior
from owae_priors import ClassConditional, GaussianMixture, Laplace, UniformSphere

TABLE = [
    (ClassConditional, {}),
    (GaussianMixture, {}),
    (GaussianMixture, {"components": 1}),
    (GaussianMixture, {"components": 3, "spread": 1.0, "learn": False}),
    (UniformSphere, {}),
    (UniformSphere, {"radius": 0.1}),
    (Laplace, {}),
]


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
@pytest.mark.parametrize(("cls", "options"), TABLE, ids=str)
def test_contract(cls, options, shape):
    check_prior(cls, shape=shape, **options)
    assert Registry.discover(only=["owae-priors"]).get("prior", cls.name) is cls


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (GaussianMixture, {"components": 0}),
        (ClassConditional, {"components": 0}),
        (GaussianMixture, {"spread": 0.0}),
        (UniformSphere, {"radius": -1.0}),
        (Laplace, {"scale": 0.0}),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_by_config_and_constructor(cls, options):
    assert validated(options_model(cls), options)[1]
    with pytest.raises(ConfigError):
        cls((2,), **options)


@pytest.mark.parametrize(("cls", "options"), [(UniformSphere, {}), (Laplace, {}), (GaussianMixture, {"components": 2000})], ids=str)
def test_every_coordinate_has_mean_0_and_variance_1(cls, options):
    torch.manual_seed(0)
    draws = cls((3,), **options).double().sample(100_000)
    torch.testing.assert_close(draws.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.08)
    torch.testing.assert_close(draws.var(0), torch.ones(3, dtype=torch.float64), rtol=0, atol=0.08)


def test_their_laws_are_those_of_their_names():
    torch.manual_seed(0)
    sphere = UniformSphere((3,), radius=2.0).double().sample(5000)
    torch.testing.assert_close(sphere.norm(dim=1), torch.full((5000,), 2.0, dtype=torch.float64))
    # Archimedes: a coordinate of the sphere in three dimensions is uniform.
    assert stats.kstest(sphere[:, 0].numpy(), stats.uniform(-2, 4).cdf).pvalue > 1e-3
    laplace = Laplace((1,), scale=3.0).double().sample(5000)[:, 0]
    assert stats.kstest(laplace.numpy(), stats.laplace(scale=3.0).cdf).pvalue > 1e-3


def test_gradients_reach_the_components_unless_they_are_fixed():
    prior = GaussianMixture((2,), components=3)
    prior.sample(50).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any(1).all()) for p in prior.parameters())
    assert not any(p.requires_grad for p in GaussianMixture((2,), learn=False).parameters())


def test_the_density_is_that_of_its_formula():
    prior = GaussianMixture((2, 1), components=3).double()
    prior.weights.copy_(torch.tensor([0.2, 0.5, 0.3]))
    z = torch.randn(5, 2, 1, dtype=torch.float64)
    oracle = sum(
        weight * stats.norm.pdf(z.flatten(1).numpy(), mean, deviation.exp().numpy()).prod(1)
        for weight, mean, deviation in zip(
            prior.weights.numpy(), prior.means.detach().numpy(), prior.log_deviations.detach(), strict=True
        )
    )
    torch.testing.assert_close(prior.log_prob(z).exp(), torch.as_tensor(oracle))


@pytest.mark.parametrize(("unit", "shift"), [(1.0, 0.0), (1e-6, 1e-3), (1e4, -1e6)])
def test_a_fit_finds_the_components_that_made_the_codes(unit, shift):
    generator = torch.Generator().manual_seed(0)
    counts, at = [3000, 1000], torch.tensor([[-3.0, 0.0], [4.0, 2.0]], dtype=torch.float64)
    deviations = torch.tensor([[1.0, 0.5], [0.3, 2.0]], dtype=torch.float64)
    parts = [
        m + s * torch.randn(n, 2, generator=generator, dtype=torch.float64) for n, m, s in zip(counts, at, deviations, strict=True)
    ]
    codes = shift + unit * torch.cat(parts)
    prior = GaussianMixture((2,), components=2).double()
    likelihood = prior.fit(codes)
    order = prior.means[:, 0].argsort()
    torch.testing.assert_close((prior.means[order] - shift) / unit, at, rtol=0, atol=0.25)
    torch.testing.assert_close(prior.log_deviations[order].exp() / unit, deviations, rtol=0.1, atol=0)
    torch.testing.assert_close(prior.weights[order], torch.tensor([0.75, 0.25], dtype=torch.float64), rtol=0, atol=0.01)
    assert likelihood == pytest.approx(prior.log_prob(codes).mean().item(), rel=1e-3)
    first = prior.means.clone()
    prior.fit(codes)
    assert torch.equal(first, prior.means)


def test_codes_that_cannot_be_fitted_are_refused():
    prior = GaussianMixture((2,), components=4)
    with pytest.raises(DataError, match="3 codes for 4 components"):
        prior.fit(torch.randn(3, 2))
    with pytest.raises(DataError, match="the same"):
        prior.fit(torch.ones(9, 2))
    with pytest.raises(InputError, match="NaN"):
        prior.fit(torch.full((9, 2), math.nan))
    with pytest.raises(InputError, match="shape"):
        prior.fit(torch.randn(9, 3))


def test_each_class_is_drawn_where_its_codes_are_and_all_together_are_standard_normal():
    torch.manual_seed(0)
    labels = torch.tensor([2, 2, 5, -1]).repeat(500)
    codes = torch.randn(2000, 2, 2) * 0.1 + labels[:, None, None]
    prior = ClassConditional((2, 2))
    prior.fit(codes, labels)
    assert prior.classes == [2, 5]
    for label in prior.classes:
        draws = prior.of_class(label, 4000)
        torch.testing.assert_close(draws.mean(0), torch.full((2, 2), float(label)), rtol=0, atol=0.03)
        assert draws.std(0).sub(0.1).abs().max() < 0.02
    assert prior.sample(4000).mean().abs() < 0.05
    assert not prior.state_dict()
    with pytest.raises(DataError, match=r"class 3 are known; .*valid: 2, 5"):
        prior.of_class(3, 1)
    with pytest.raises(DataError, match="class 1: found 1 codes"):
        prior.fit(codes[:3], torch.tensor([0, 0, 1]))


def test_a_mixture_makes_of_noise_what_it_draws():
    prior = GaussianMixture((2,), components=3)
    prior.weights.copy_(torch.tensor([0.6, 0.3, 0.1]))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, *prior.noise_shape, generator=generator)
    torch.manual_seed(0)
    with torch.no_grad():
        made, drawn = prior.from_noise(noise), prior.sample(20_000)
    assert made.shape == drawn.shape
    assert torch.allclose(made.mean(0), drawn.mean(0), atol=0.04)
    assert torch.allclose(torch.cov(made.T), torch.cov(drawn.T), atol=0.05)
