"""The loop: what a step does, what stops it, and that its state is all there is to it."""

from __future__ import annotations

import logging
import math
import re

import pytest
import tiny
import torch
from toys import Affine, Moments

from owae.data.loader import Loader
from owae.data.sources import TensorSource, examples
from owae.distributions import Gaussian
from owae.errors import ConfigError, DataError, TrainingError
from owae.interfaces import Divergence, Regulariser
from owae.model.stack import Level, Stack
from owae.parallel.devices import choose_device
from owae.training import Fit, fit
from owae_layers.mlp import MLP
from owae_mmd.mmd import MMD


def parameters(stack: Stack) -> list[torch.Tensor]:
    return [p.detach().clone() for p in stack.parameters()]


def test_steps_are_numbered_and_lower_the_loss():
    stack = tiny.stack()
    steps = list(fit(stack, tiny.images(), epochs=30, batch_size=16))
    assert [(s.epoch, s.step, s.last) for s in steps[:5]] == [
        (1, 1, False),
        (1, 2, False),
        (1, 3, False),
        (1, 4, True),
        (2, 5, False),
    ]
    assert len(steps) == 120
    assert steps[-1].objective.loss < 0.8 * steps[0].objective.loss


def test_a_step_is_one_joint_step_on_the_loss():
    """Against the same by hand: every gradient of the loss, one step of plain gradient descent."""
    stack, twin = tiny.stack(), tiny.stack()
    x = tiny.images(16)
    torch.manual_seed(1)
    (step,) = fit(stack, x, epochs=1, batch_size=16, optimizer={"name": "SGD", "lr": 0.1})
    torch.manual_seed(1)
    order = next(Loader(TensorSource(x), 16).epoch(1))
    objective = twin.train()(order)
    objective.loss.backward()
    assert objective.loss == step.objective.loss
    for mine, p in zip(stack.parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(mine, p - 0.1 * p.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "taken"),
    [(None, 3), (None, 4), ({"name": "OneCycleLR", "max_lr": 3e-3}, 7), ({"name": "CosineAnnealingLR"}, 3)],
)
def test_a_restored_loop_goes_on_to_the_bit(schedule: dict | None, taken: int):
    options = {"epochs": 4, "batch_size": 16, "schedule": schedule, "clip_gradients": 1.0}
    whole = tiny.stack()
    straight = fit(whole, tiny.images(), **options)
    losses = [s.objective.loss.item() for s in straight]
    first = fit(tiny.stack(), tiny.images(), **options)
    steps = iter(first)
    for _ in range(taken):
        next(steps)
    state = first.state()
    torch.manual_seed(123)
    again = tiny.stack(seed=9)
    resumed = fit(again, tiny.images(), **options)
    resumed.restore(state)
    assert [s.objective.loss.item() for s in resumed] == losses[taken:]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_restoring_refuses_another_batch_size_and_another_model():
    steps = fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16)
    state = steps.state()
    with pytest.raises(TrainingError, match="4 steps an epoch, this one would take 2"):
        fit(tiny.stack(), tiny.images(), epochs=1, batch_size=32).restore(state)
    del state["model"]["levels.1.layer.encoder.0.weight"]
    with pytest.raises(TrainingError, match=r"levels\.1\.layer\.encoder\.0\.weight"):
        fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16).restore(state)


def test_what_needs_held_out_examples_or_an_average_asks_for_them():
    steps = fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16)
    with pytest.raises(DataError, match="give `validation` to fit, or"):
        steps.validate()
    with pytest.raises(TrainingError, match=r"kept no average of its parameters.* leave ema out"):
        fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16, ema=0.9).restore(steps.state())


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    source = TensorSource(torch.arange(20.0)[:, None])

    def order(seed: int, epoch: int, start: int = 0) -> list[float]:
        return [value for batch in Loader(source, 4, seed).epoch(epoch, start) for value in batch[:, 0].tolist()]

    assert sorted(order(0, 1)) == list(range(20))
    assert order(0, 1) == order(0, 1)
    assert order(0, 1)[8:] == order(0, 1, start=2)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4


def test_a_last_batch_of_one_is_dropped_and_said_once(caplog: pytest.LogCaptureFixture):
    """N6: 17 images at batch 8."""
    with caplog.at_level(logging.INFO, "owae"):
        steps = list(fit(tiny.stack(), tiny.images(17), epochs=3, batch_size=8))
    assert len(steps) == 6
    assert sum("leave one over" in record.message for record in caplog.records) == 1


def test_a_last_batch_of_two_is_used():
    assert [s.last for s in fit(tiny.stack(), tiny.images(18), epochs=1, batch_size=8)] == [False, False, True]


@pytest.mark.parametrize(
    ("count", "batch_size", "words"),
    [
        (17, 1, "batch_size: found 1; should be at least 2"),
        (1, 8, "at least 2"),
        (17, 0, "batch_size: found 0; should be at least 2"),
    ],
)
def test_batches_of_one_are_refused_at_once(count: int, batch_size: int, words: str):
    with pytest.raises((ConfigError, DataError), match=words):
        fit(tiny.stack(), tiny.images(count), epochs=1, batch_size=batch_size)


def test_one_image_is_reconstructed():
    stack = tiny.stack().eval()
    assert stack.reconstruct(tiny.images(1)).shape == (1, 1, 8, 8)


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
    before = parameters(stack)
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


def test_black_images_train():
    """N1: the whole path on equal rows."""
    steps = list(fit(tiny.stack(), torch.zeros(64, 1, 8, 8), epochs=2, batch_size=16))
    assert all(math.isfinite(s.objective.loss.item()) for s in steps)


def test_bytes_mean_the_value_range():
    source = TensorSource(torch.tensor([[0, 51, 255]], dtype=torch.uint8), None, (-1.0, 1.0))
    torch.testing.assert_close(examples(source), torch.tensor([[-1.0, -0.6, 1.0]]))
    assert examples(source).dtype == torch.float32


def test_gradient_norms_are_those_before_clipping():
    def norms(clip: float | None) -> dict[str, float]:
        steps = fit(tiny.stack(), tiny.images(), epochs=1, batch_size=64, clip_gradients=clip)
        return steps.gradient_norms(next(iter(steps)))

    plain, clipped = norms(None), norms(1e-3)
    assert plain.keys() == {"gradient/1", "gradient/2"}
    assert clipped == pytest.approx(plain, rel=1e-3)
    assert plain["gradient/1"] > 0


def test_scalars_tell_spread_and_variance():
    stack = tiny.stack()
    (step,) = fit(stack, tiny.images(), epochs=1, batch_size=64)
    values = step.objective.scalars()
    z, q = step.objective.codes[0], step.objective.posteriors[0]
    assert isinstance(q, Gaussian)
    assert values["spread/1"] == pytest.approx(z.std(0, correction=0).mean().item(), rel=1e-5)
    assert values["variance/1"] == pytest.approx(q.variance.mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"optimizer": {"name": "Adm"}}, "did you mean 'Adam'"), ({"optimizer": {"name": "Adam", "betas": (2.0, 0.9)}}, "beta"),
     ({"schedule": {"name": "OneCycle"}}, "OneCycleLR"), ({"device": "cuda:x"}, "found 'cuda:x'"),
     ({"device": "mps"}, "not available")],
)  # fmt: skip
def test_unknown_names_are_refused(options: dict, words: str):
    with pytest.raises((ConfigError, TrainingError), match=words):
        fit(tiny.stack(), tiny.images(), epochs=1, **options)


@pytest.mark.parametrize("name", ["mps", "tpu", "cuda:99"])
def test_a_missing_device_is_named(name: str):
    """P6."""
    with pytest.raises(TrainingError, match=f"'{name}' is not available here"):
        choose_device(name)


def test_too_little_memory_is_said_with_what_would_help(monkeypatch: pytest.MonkeyPatch):
    stack = tiny.stack()
    bottom = stack.layers[0]

    def encode(x: torch.Tensor):
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(bottom, "encode", encode)
    with pytest.raises(TrainingError, match=r"epoch 1, step 1: .*can't allocate memory.*smaller batch_size"):
        next(iter(fit(stack, tiny.images(), epochs=1, batch_size=16)))
