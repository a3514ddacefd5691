"""What a stack refuses, reports and is used for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from toys import Affine, Bounded, Moments, Spread

from owae.errors import ConfigError
from owae.model.defaults import StandardNormal
from owae.model.stack import Level, Stack
from owae.tensor_checks import unchecked
from owae_layers.mlp import MLP

IMAGES = (1, 4, 4)


def stack(**keywords) -> Stack:
    torch.manual_seed(0)
    layers = [Affine(IMAGES, latent=4), Affine((4,), latent=3), Affine((3,), latent=2)]
    return Stack(layers, **{"divergence": Moments(), "weights": [0.5, 0.2, 0.1], **keywords})


@pytest.mark.parametrize(
    ("weights", "stacked", "message"),
    [
        ([0.5, 0.2], None, r"2 weights for a stack matched at level 3; it takes 3"),
        ([0.5, 0.2, 0.1, 0.1], None, r"4 weights for a stack matched at level 3"),
        ([0.5, 0.2, 0.1], 1, r"3 weights for a stack matched at level 1; it takes 1"),
        ([], None, r"0 weights"),
        ([0.5, -0.2, 0.1], None, r"weights hold -0.2; each is a finite number, at least 0"),
        ([0.5, math.nan, 0.1], None, r"weights hold nan"),
        ([0.5, math.inf, 0.1], None, r"weights hold inf"),
        ([0.0, 0.2, 0.1], None, r"w_2 = 0.2 follows a zero"),
        ([0.5, 0.2, 1e-300], None, r"weights hold 1e-300, which float32 cannot"),
        ([0.5, 1e-30, 1e30], None, r"w_3 = 1e\+30 is 1e\+60 times the weight below it"),
        ([0.5], 0, r"matched_level is 0; with 3 levels it can be 1 to 3"),
        ([0.5], 4, r"matched_level is 4"),
    ],
)
def test_weights_are_refused(weights, stacked, message):
    with pytest.raises(ConfigError, match=message):
        stack(weights=weights, matched_level=stacked)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(
        ConfigError, match=r"level 2 takes events of shape \(5,\), but level 1 gives \(4,\): build it with in_shape = \(4,\)"
    ):
        Stack([Affine(IMAGES, latent=4), Affine((5,), latent=3)], divergence=Moments(), weights=[1, 1])
    with pytest.raises(
        ConfigError, match=r"the prior's events have shape \(3,\), the deepest level's \(2,\): build it with shape = \(2,\)"
    ):
        stack(prior=StandardNormal((3,)))
    with pytest.raises(ConfigError, match="at least one level"):
        Stack([], divergence=Moments(), weights=[])


@pytest.mark.parametrize("penalty", [-1.0, math.nan, math.inf])
def test_penalties_are_refused(penalty):
    with pytest.raises(ConfigError, match=f"penalty_weight is {penalty}"):
        Level(Affine((2,), latent=1), regulariser=Spread(), penalty_weight=penalty)


@pytest.mark.parametrize("index", [slice(0, 2), slice(None, None, 2), slice(3, None), slice(1, 1), slice(None, None, -1)])
def test_slices_that_are_no_stack_are_refused(index):
    with pytest.raises(IndexError, match=r"cut from below, as stack\[i:\] with i < 3"):
        stack()[index]
    with pytest.raises(IndexError, match="i < 1"):
        stack(matched_level=1, weights=[1.0])[1:]


def test_terms_and_scalars():
    levels = [Level(Affine(IMAGES, latent=4), regulariser=Spread(), penalty_weight=0.25), Level(Affine((4,), latent=2))]
    objective = Stack(levels, divergence=Moments(), weights=[0.5, 0.1])(torch.rand(8, *IMAGES))
    assert set(objective.terms()) == {"cost/0", "cost/1", "penalty/1", "divergence", "transport", "loss"}
    assert objective.penalty_weights == (0.25, 0.0)
    scalars = objective.scalars()
    assert set(scalars) == set(objective.terms()) | {"spread/1", "spread/2", "variance/1", "variance/2"}
    assert all(isinstance(value, float) for value in scalars.values())
    for name, term in objective.terms().items():
        assert scalars[name] == pytest.approx(term.item())
    assert scalars["spread/1"] == pytest.approx(objective.codes[0].std(0, correction=0).mean().item())
    assert scalars["variance/2"] == pytest.approx(objective.posteriors[1].variance.mean().item())
    assert scalars["loss"] == pytest.approx(scalars["transport"] + 0.25 * scalars["penalty/1"])


def test_weight_zero_penalty_is_not_reported():
    levels = [Level(Affine(IMAGES, latent=2), regulariser=Spread(), penalty_weight=0.0)]
    objective = Stack(levels, divergence=Moments(), weights=[1.0])(torch.rand(4, *IMAGES))
    assert "penalty/1" not in objective.terms()
    assert torch.equal(objective.loss, objective.transport)


def test_encode_decode_reconstruct_shapes_and_determinism():
    made, x = stack(), torch.rand(5, *IMAGES)
    codes = made.encode(x)
    assert [tuple(code.shape) for code in codes] == [(5, 4), (5, 3), (5, 2)]
    for level, code in enumerate(codes, start=1):
        assert made.decode(code, level).shape == made.reconstruct(x, level).shape == x.shape
        assert torch.equal(made.decode(code, level), made.reconstruct(x, level))
    assert torch.equal(made.decode(codes[-1]), made.reconstruct(x))
    assert all(torch.equal(a, b) for a, b in zip(codes, made.encode(x), strict=True))
    drawn = [made.encode(x, sample=True) for _ in range(2)]
    assert not torch.equal(drawn[0][0], drawn[1][0])
    for level in (0, 4, -1, 1.5):
        with pytest.raises(ValueError, match=f"level is {level}; a stack of 3 levels decodes from 1 to 3"):
            made.decode(codes[-1], level)  # pyright: ignore[reportArgumentType] # a mistake


def test_noise_stands_at_every_latent_level_and_not_at_the_bottom():
    made, z = stack(), torch.randn(6, 2)
    torch.manual_seed(1)
    found = made.decode(z, sample=True)
    torch.manual_seed(1)
    for layer in reversed(made.layers[1:]):
        z = layer.decode(z).rsample()
    assert torch.equal(found, made.layers[0].decode(z).mean)


def test_samples():
    made = stack()
    torch.manual_seed(1)
    first = made.sample(7)
    torch.manual_seed(1)
    assert torch.equal(first, made.sample(7))
    assert not torch.equal(first, made.sample(7))
    assert first.shape == (7, *IMAGES)
    assert not first.requires_grad


def test_one_image_in_evaluation_mode():
    made = Stack([MLP(IMAGES, latent=4), MLP((4,), latent=2)], divergence=Moments(), weights=[1.0, 1.0]).eval()
    x = torch.rand(1, *IMAGES)
    assert made.reconstruct(x).shape == made.sample(1).shape == x.shape
    assert made(x).loss.isfinite()


def test_unusable_codes_are_refused_unless_unchecked():
    made, x = stack(), torch.rand(4, *IMAGES)
    x[1, 0, 2, 2] = math.nan
    with pytest.raises(ValueError, match="x holds NaN or infinity in 1 of 4 rows"):
        made(x)
    with unchecked():
        objective = made(x)
    assert math.isnan(objective.scalars()["divergence"])


def test_all_black_images_train():
    made = Stack([MLP(IMAGES, latent=4, output="sigmoid"), MLP((4,), latent=2)], divergence=Moments(), weights=[1.0, 1.0])
    optimiser = torch.optim.Adam(made.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        made(torch.zeros(8, *IMAGES)).loss.backward()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0, error_if_nonfinite=True)
        optimiser.step()
    assert made(torch.zeros(8, *IMAGES)).loss.isfinite()


def test_costs_penalties_and_divergences_see_no_autocast():
    seen = {}

    def note(what: str) -> Tensor:
        product = torch.ones(2, 2) @ torch.ones(2, 2)  # autocast would make it bfloat16
        seen[what] = product.dtype
        return product.sum()

    class NotedCost(Bounded):
        def expected(self, x, p):
            return super().expected(x, p) + 0 * note("cost")

    class NotedPenalty(Spread):
        def forward(self, q):
            return super().forward(q) + 0 * note("penalty")

    class NotedDivergence(Moments):
        def to_prior(self, x, prior):
            return super().to_prior(x, prior) + 0 * note("divergence")

    level = Level(Affine(IMAGES, latent=2), cost=NotedCost(), regulariser=NotedPenalty())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Stack([level], divergence=NotedDivergence(), weights=[1.0])(torch.rand(4, *IMAGES))
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert seen == dict.fromkeys(["cost", "penalty", "divergence"], torch.float32)
