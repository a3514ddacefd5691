"""What a step can be told to do otherwise: averages, accumulation, bad steps left out; and resuming with all of it."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from owae.data.loader import Loader
from owae.data.sources import TensorSource
from owae.errors import ConfigError, TrainingError
from owae.interfaces import Divergence
from owae.model.stack import Stack
from owae.training import Fit, fit
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet
from owae_mmd.mmd import MMD

SGD = {"name": "SGD", "lr": 0.1}


def images_stack(seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    bottom = ResNet((3, 8, 8), channels=2, filters=4, resample="down", output="sigmoid")
    return Stack([bottom, ResNet((2, 4, 4), channels=1, filters=4)], divergence=MMD(), weights=[0.5, 0.5])


def state(stack: Stack) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in stack.state_dict().items()}


def same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor], **close: Any) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if close:
            torch.testing.assert_close(value, theirs[name], **close)
        else:
            assert torch.equal(value, theirs[name]), name


# The rate


@pytest.mark.parametrize("schedule", [None, {"name": "ExponentialLR", "gamma": 0.9}, {"name": "CosineAnnealingLR"}])
def test_the_rate_warms_up_and_the_schedule_runs_on_beneath(schedule: dict[str, Any] | None):
    """Of eight steps five warm up."""
    runs: dict[int, list[float]] = {}
    for warmup in (0, 5):
        steps = fit(tiny.stack(), tiny.images(64), epochs=2, batch_size=16, optimizer=SGD, schedule=schedule, warmup=warmup)
        runs[warmup] = [step.lr for step in steps]
    shares = [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]
    assert runs[5] == pytest.approx([share * rate for share, rate in zip(shares, runs[0], strict=True)], rel=1e-12)


def test_a_step_is_taken_at_the_rate_of_its_warm_up():
    """The first of five: with SGD, a fifth of the way that it goes without."""
    moved = []
    for warmup in (0, 5):
        stack = tiny.stack()
        before = state(stack)
        torch.manual_seed(1)
        next(iter(fit(stack, tiny.images(64), epochs=2, batch_size=16, optimizer=SGD, warmup=warmup)))
        moved.append({name: p.detach() - before[name] for name, p in stack.named_parameters()})
    for name, way in moved[0].items():
        torch.testing.assert_close(moved[1][name], 0.2 * way, rtol=1e-3, atol=1e-7)
    assert any(way.abs().max() > 1e-3 for way in moved[0].values())


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"accumulate": 0}, {"epochs": -2}, {"skip_bad_steps": -1}])
def test_counts_out_of_range_are_refused(wrong: dict[str, Any]):
    arguments: dict[str, Any] = {"epochs": 1} | wrong
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Fit(tiny.stack(), tiny.images(), **arguments)


# The average of the parameters


def test_the_average_follows_its_recursion():
    stack = tiny.stack()
    steps = fit(stack, tiny.images(), epochs=4, batch_size=16, ema=0.5)
    expected = {name: p.detach().clone() for name, p in stack.named_parameters()}
    for step in steps:
        decay = min(0.5, (1 + step.step) / (10 + step.step))
        expected = {name: decay * expected[name] + (1 - decay) * p.detach() for name, p in stack.named_parameters()}
    own = state(stack)
    with steps.averaged():
        for name, p in stack.named_parameters():
            torch.testing.assert_close(p.detach(), expected[name])
        assert not torch.equal(own["levels.0.layer.encoder.0.weight"], stack.state_dict()["levels.0.layer.encoder.0.weight"])
    same_state(state(stack), own)


@pytest.mark.parametrize(
    ("decay", "words"), [(0.0, "greater than 0"), (1.0, "less than 1"), (-0.5, "greater"), (math.nan, "finite")]
)
def test_an_average_that_is_none_is_refused(decay: float, words: str):
    with pytest.raises(ConfigError, match=f"ema: found {decay}; should be .*{words}"):
        fit(tiny.stack(), tiny.images(), epochs=1, ema=decay)


# Accumulation


def test_accumulated_gradients_are_the_mean_of_the_batches():
    """By hand: 5 batches of 16, 16, 16, 16 and 8 rows make three steps of two batches, the last of one."""
    stack, twin, x = tiny.stack(), tiny.stack(), tiny.images(72)
    torch.manual_seed(1)
    steps = list(fit(stack, x, epochs=1, batch_size=16, accumulate=2, optimizer=SGD))
    assert [(step.step, step.last) for step in steps] == [(1, False), (2, False), (3, True)]
    torch.manual_seed(1)
    twin.train()
    batches = list(Loader(TensorSource(x), 16).epoch(1))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for group, step in zip((batches[:2], batches[2:4], batches[4:]), steps, strict=True):
        optimizer.zero_grad()
        losses = []
        for batch in group:
            loss = twin(batch).loss
            (loss * len(batch) / sum(map(len, group))).backward()
            losses.append(loss.item() * len(batch) / sum(map(len, group)))
        optimizer.step()
        assert step.objective.loss.item() == pytest.approx(sum(losses), rel=1e-6)
    same_state(state(stack), state(twin), rtol=1e-6, atol=1e-7)


# Bad steps


class Fails(Divergence):
    """Not finite at chosen calls, in its value or in its gradient alone, or by an exception."""

    name = "fails"

    def __init__(self, at: set[int], how: str) -> None:
        super().__init__()
        self.at, self.how, self.calls = at, how, 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += x.requires_grad  # components are tried once, without gradients, before the first step
        good = (x.mean(0) - y.mean(0)).square().sum()
        if self.calls not in self.at:
            return good
        if self.how == "value":
            return good * math.nan
        return good + (x - x.detach()).square().sum().sqrt()


def failing(at: set[int], how: str = "value") -> Stack:
    torch.manual_seed(0)
    layers = [MLP((1, 8, 8), latent=8, hidden=[16], output="sigmoid"), MLP((8,), latent=2, hidden=[16])]
    return Stack(layers, divergence=Fails(at, how), weights=[0.5, 0.5])


@pytest.mark.parametrize("how", ["value", "gradient"])
def test_bad_steps_are_left_out_counted_and_said(how: str, caplog: pytest.LogCaptureFixture):
    stack = failing({2, 3, 6}, how)
    steps = fit(stack, tiny.images(), epochs=2, batch_size=16, skip_bad_steps=2, ema=0.9)
    before = state(stack)
    for step in steps:
        assert step.skipped == (step.step in {2, 3, 6})
        if step.skipped:
            same_state(state(stack), before)  # parameters and batch norm's statistics
        else:
            assert not torch.equal(before["levels.0.layer.encoder.0.weight"], stack.state_dict()["levels.0.layer.encoder.0.weight"])
        before = state(stack)
    assert steps.skipped == 3
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 4
    assert "3 of 8 steps (38%) were left out: 3 skipped" in warnings[3]
    assert "epoch 1, step 3: level" in warnings[1]
    assert "2 in a row, 2 in all" in warnings[1]
    assert "1 in a row, 3 in all" in warnings[2]


def test_too_many_bad_steps_in_a_row_end_training():
    stack = failing({2, 3, 4})
    steps = fit(stack, tiny.images(), epochs=2, batch_size=16, skip_bad_steps=2)
    with pytest.raises(TrainingError, match="epoch 1, step 4: level 2, term divergence"):
        list(steps)
    assert steps.step == 3


def test_bad_data_at_the_first_step_can_be_skipped():
    x = tiny.images(32)
    x[Loader(TensorSource(x), 16).indices(1, 0)[3]] = math.nan
    steps = fit(tiny.stack(), x, epochs=1, batch_size=16, skip_bad_steps=5, schedule={"name": "OneCycleLR", "max_lr": 1e-2})
    taken = list(steps)
    assert [step.skipped for step in taken] == [True, False]
    assert not taken[0].objective.loss.isfinite()


def test_an_infinite_activation_leaves_no_trace_in_batch_norm(monkeypatch: pytest.MonkeyPatch):
    """The statistics of the forward pass of a step that was stopped are those before it."""
    stack = tiny.stack()
    steps = fit(stack, tiny.images(), epochs=1, batch_size=16)
    taken = iter(steps)
    next(taken)
    with torch.no_grad():
        stack.levels[0].layer.encoder[0].weight[0, 0] = math.inf  # pyright: ignore
    before = state(stack)
    with pytest.raises(TrainingError, match="level 1"):
        next(taken)
    same_state(state(stack), before)


def test_the_device_is_read_once_a_step(monkeypatch: pytest.MonkeyPatch):
    """Everything that the guards look at comes over in one read; what is wrong is looked up only when something is."""
    reads = []
    for name in ("item", "tolist", "__bool__", "__float__"):
        original = getattr(Tensor, name)

        def read(self: Tensor, original=original, name=name):
            reads.append(name)
            return original(self)

        monkeypatch.setattr(Tensor, name, read)
    steps = iter(fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16, clip_gradients=1.0, ema=0.9))
    next(steps)
    reads.clear()
    next(steps)
    assert reads == ["tolist"]


# Exact resume with everything on


@pytest.mark.parametrize(("taken", "precision"), [(1, "16-mixed"), (2, "32"), (5, "16-mixed")])
def test_a_restored_loop_goes_on_to_the_bit_with_everything_on(taken: int, precision: str):
    """Averages, accumulation, bad steps, the scale of the loss."""
    options: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "ema": 0.9,
        "accumulate": 2,
        "skip_bad_steps": 3,
        "precision": precision,
    }
    options |= {"schedule": {"name": "OneCycleLR", "max_lr": 1e-2}, "validation": tiny.images(20, seed=8)}
    x = tiny.images(72)
    x[5] = math.nan

    def everything(steps: Fit) -> list[Any]:
        return [(step.objective.loss.item(), step.skipped, step.lr, steps.validate()["validation/loss"]) for step in steps]

    whole = tiny.stack()
    straight = fit(whole, x, **options)
    expected = everything(straight)
    first = fit(tiny.stack(), x, **options)
    steps = iter(first)
    for _ in range(taken):
        next(steps)
    saved = first.state()
    torch.manual_seed(99)
    again = tiny.stack(seed=9)
    resumed = fit(again, x, **options)
    resumed.restore(saved)
    assert repr(everything(resumed)) == repr(expected[taken:])  # NaN is NaN
    same_state(state(again), state(whole))
    with resumed.averaged(), straight.averaged():
        same_state(state(again), state(whole))
    assert resumed.skipped == straight.skipped == 3
    assert resumed.scale.state() == straight.scale.state()
