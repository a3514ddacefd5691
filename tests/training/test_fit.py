"""The loop: what a step does, what stops it, and that its state is all there is to it."""

from __future__ import annotations

import logging
import math

import pytest
import tiny
import torch

from owae.data.loader import Loader
from owae.data.sources import TensorSource, examples
from owae.distributions import Gaussian
from owae.errors import ConfigError, DataError, TrainingError
from owae.model.stack import Stack
from owae.parallel.devices import choose_device
from owae.training import fit


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
    """17 images at batch 8."""
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


def test_black_images_train():
    """The whole path on equal rows."""
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
