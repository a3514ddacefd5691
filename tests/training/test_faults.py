"""What is not finite in a step is named, the step changes nothing, and what a component raises by itself stays as it is."""

from __future__ import annotations

import math
import re

import pytest
import tiny
import torch
from toys import Affine, Moments

from owae.distributions import Gaussian
from owae.errors import TrainingError
from owae.interfaces import Divergence, Regulariser
from owae.model.stack import Level, Stack
from owae.training import Fit, fit
from owae_layers.mlp import MLP
from owae_mmd.mmd import MMD


def broken_off(stack: Stack, steps: Fit) -> tuple[TrainingError, dict, dict]:
    """The error that ends a training, the state after the last good step, and that after the bad one."""

    def state() -> dict:
        return {name: value.clone() for name, value in stack.state_dict().items()}

    before = state()
    try:
        for _ in steps:
            before = state()
    except TrainingError as error:
        return error, before, state()
    raise AssertionError("training was not broken off")


def test_an_image_of_nan_is_named_and_changes_nothing():
    """N7."""
    x = tiny.images()
    x[37, 0, 3, 3] = math.nan
    stack = tiny.stack()
    steps = fit(stack, x, epochs=2, batch_size=16)
    error, before, after = broken_off(stack, steps)
    assert re.match(r"epoch 1, step \d: level 1, term cost/0 .* 1 of the 16 examples", str(error))
    assert error.exit_code != 0
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_a_learning_rate_that_diverges_is_caught_at_the_step():
    """N7."""
    stack = tiny.stack()
    steps = fit(stack, tiny.images(), epochs=500, batch_size=16, optimizer={"name": "SGD", "lr": 1e6})
    error, before, after = broken_off(stack, steps)
    assert re.match(r"epoch \d+, step \d+: level [12], term (cost|divergence|gradient|loss)", str(error))
    parameters = dict(stack.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name in parameters)


class Broken(Regulariser):
    name = "broken"

    def forward(self, q):
        return q.variance.flatten(1).sum(1) * math.nan


class RootOfNothing(Divergence):
    """Finite value, infinite gradient."""

    name = "root-of-nothing"

    def forward(self, x, y):
        return (x - x.detach()).square().sum().sqrt()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda bottom, top: Stack([bottom, Level(top, regulariser=Broken())], divergence=MMD(), weights=[1, 1]),
            "level 2, term penalty/2",
        ),
        (lambda bottom, top: Stack([bottom, top], divergence=RootOfNothing(), weights=[1, 1]), "term gradient of"),
        (lambda bottom, top: Stack([bottom, top], divergence=MMD(scales=(1.0,)), weights=[1e38, 3e38]), "term loss|term gradient"),
    ],
)
def test_the_first_bad_term_is_named(build, words: str):
    bottom, top = MLP((1, 8, 8), latent=8, hidden=[16], output="sigmoid"), MLP((8,), latent=2, hidden=[16])
    stack = build(bottom, top)
    before = [parameter.detach().clone() for parameter in stack.parameters()]
    with pytest.raises(TrainingError, match=words):
        list(fit(stack, tiny.images(), epochs=3, batch_size=16))
    if "penalty" in words or "of" in words:
        assert all(torch.equal(a, b) for a, b in zip(before, stack.parameters(), strict=True))


class Refusing(Affine):
    """Its means are not finite from the second step on, and then it raises, as an eigendecomposition of them would."""

    calls = 0

    def encode(self, x):
        self.calls += self.training
        q = super().encode(x)
        return Gaussian(q.mean * math.nan, q.variance) if self.calls > 2 else q

    def decode(self, z):
        if not bool(z.isfinite().all()):
            raise ValueError("found z that is not finite")
        return super().decode(z)


def test_an_error_that_follows_from_codes_that_are_not_finite_names_their_level():
    stack = Stack([Affine((1, 8, 8), latent=4), Refusing((4,), latent=2)], divergence=Moments(), weights=[1, 1])
    error, before, after = broken_off(stack, fit(stack, tiny.images(), epochs=2, batch_size=16))
    words = "epoch 1, step 2: level 2, term cost/2: the encoder's mean of z_2 is not finite (found z that is not finite)"
    assert str(error).startswith(words)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_an_error_of_a_component_itself_is_raised_as_it_is():
    class Failing(Moments):
        def forward(self, x, y):
            raise ValueError("the component's own")

    stack = Stack([Affine((1, 8, 8), latent=2)], divergence=Failing(), weights=[1])
    with pytest.raises(ValueError, match="the component's own"):
        list(fit(stack, tiny.images(), epochs=1, batch_size=16))
