"""Steps that train nothing are counted and said; a training of nothing else is an error."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from owae.errors import TrainingError
from owae.interfaces import Divergence
from owae.model.defaults import StandardNormal
from owae.model.stack import Stack
from owae.training import Fit, fit
from owae_layers.mlp import MLP
from owae_mmd.mmd import MMD


def state(stack: Stack) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in stack.state_dict().items()}


def same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def scaled_up(stack: Stack, scale: float, epochs: int) -> Fit:
    steps = fit(stack, tiny.images(), epochs=epochs, batch_size=16, precision="16-mixed", schedule={"name": "CosineAnnealingLR"})
    steps.fabric.strategy.precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale)  # pyright: ignore[reportAttributeAccessIssue]
    return steps


def test_a_scale_that_is_too_large_is_lowered_and_no_bad_step(caplog: pytest.LogCaptureFixture):
    stack = tiny.stack()
    steps = scaled_up(stack, 2.0**34, epochs=10)
    before = {name: p.detach().clone() for name, p in stack.named_parameters()}
    dropped = 0
    for step in steps:
        assert not step.skipped
        dropped += step.dropped
        changed = any(not torch.equal(value, before[name]) for name, value in stack.named_parameters())
        assert changed == (step.step > dropped), "a dropped step leaves the parameters alone"
    assert steps.scale.state()["scale"] < 2.0**34
    assert steps.tally.state() == {"taken": 40 - dropped, "skipped": 0, "dropped": dropped, "bad_in_a_row": 0}
    assert 5 <= dropped < 40
    assert steps.tally.left_out() == {"dropped": dropped}
    assert caplog.text.count("a gradient overflows float16") == 1
    assert f"{dropped} of 40 steps" in caplog.text


@pytest.mark.parametrize("options", [{"optimizer": {"name": "Adam", "lr": 1e-30}}, {"warmup": 10**12}, {"clip_gradients": 1e-300}])
def test_a_training_that_moves_no_parameter_is_an_error(options: dict[str, Any]):
    with pytest.raises(TrainingError, match="4 steps have moved no parameter"):
        list(fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16, **options))


def test_a_training_whose_every_step_overflows_is_an_error():
    stack = tiny.stack()
    before = state(stack)
    with pytest.raises(TrainingError, match=r"none of 8 steps has trained anything: 0 were skipped.* 8 dropped.*bf16-mixed"):
        list(scaled_up(stack, 2.0**120, epochs=2))
    assert all(torch.equal(p, before[name]) for name, p in stack.named_parameters())


def test_dropped_steps_are_counted_on_after_resuming():
    steps = scaled_up(tiny.stack(), 2.0**34, epochs=10)
    taken = iter(steps)
    while not next(taken).dropped:
        pass
    resumed = scaled_up(tiny.stack(), 2.0**34, epochs=10)
    resumed.restore(steps.state())
    assert resumed.tally.state() == steps.tally.state()
    assert resumed.tally.dropped == 1


def test_a_training_whose_every_step_is_skipped_is_an_error():
    x = tiny.images(32)
    x[::2] = math.nan
    stack = tiny.stack()
    before = state(stack)
    with pytest.raises(TrainingError, match="none of 4 steps has trained anything: 4 were skipped"):
        list(fit(stack, x, epochs=2, batch_size=16, skip_bad_steps=1000))
    same_state(state(stack), before)


def test_a_rate_or_a_gradient_of_0_is_said_once_and_an_error_where_there_is_no_other(caplog: pytest.LogCaptureFixture):
    def at_rest(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.0)

    with pytest.raises(TrainingError, match="none of 4 steps has trained anything"):
        list(fit(tiny.stack(), tiny.images(32), epochs=2, batch_size=16, schedule=at_rest))
    assert caplog.text.count("the learning rate is 0") == 1
    stack = tiny.stack()
    for p in stack.parameters():
        p.register_hook(torch.zeros_like)
    with pytest.raises(TrainingError, match="none of 4 steps has trained anything"):
        list(fit(stack, tiny.images(32), epochs=2, batch_size=16))
    assert caplog.text.count("every gradient is 0") == 1
    caplog.clear()
    list(fit(tiny.stack(), tiny.images(32), epochs=2, batch_size=16, schedule={"name": "StepLR", "step_size": 2, "gamma": 0.0}))
    assert caplog.text.count("the learning rate is 0") == 1


def test_a_stack_that_cannot_be_trained_is_refused():
    stack = tiny.stack()
    with pytest.raises(TrainingError, match="nothing to train"):
        fit(stack, tiny.images(32), optimizer=lambda _: torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    with pytest.raises(TrainingError, match="nothing to train"):
        fit(stack.requires_grad_(False), tiny.images(32))
    for p in stack.layers[0].parameters():
        p.requires_grad_(True)
    list(fit(stack, tiny.images(32), epochs=1, batch_size=16))


def test_the_average_before_any_step_is_the_model():
    stack = tiny.stack()
    before = state(stack)
    steps = fit(stack, tiny.images(32), ema=0.9)
    with steps.averaged():
        same_state(state(stack), before)


class Steep(Divergence):
    """Gradients that are finite, and whose squares are not."""

    name = "steep"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (1e22 * (x.mean(0) - x.mean(0).detach())).sum()


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_norm_that_overflows_names_the_largest_gradient(clip: float | None):
    layers = [MLP((1, 8, 8), latent=8, hidden=[16], output="sigmoid"), MLP((8,), latent=2, hidden=[16])]
    stack = Stack(layers, divergence=Steep(), weights=[1.0, 1.0])
    words = r"epoch 1, step 1: level 2, term gradient of encoder\S+ holds entries up to \d\.?\d*e\+2\d, and the norm.*overflows"
    with pytest.raises(TrainingError, match=words):
        list(fit(stack, tiny.images(32), epochs=1, batch_size=16, clip_gradients=clip))


class Learnt(StandardNormal):
    name = "learnt"

    def __init__(self, shape: tuple[int, ...], /) -> None:
        super().__init__(shape)
        self.shift = nn.Parameter(torch.zeros(shape))

    def sample(self, n: int) -> Tensor:
        root = (self.shift - self.shift.detach()).square().sum().sqrt()
        return super().sample(n) + root


def test_a_gradient_of_the_prior_is_named():
    layers = [MLP((1, 8, 8), latent=2, hidden=[16], output="sigmoid")]
    stack = Stack(layers, divergence=MMD(), weights=[1.0], prior=Learnt((2,)))
    with pytest.raises(TrainingError, match=r"term gradient of prior\.shift is not finite"):
        list(fit(stack, tiny.images(32), epochs=1, batch_size=16))


def test_an_infinite_example_is_named_too():
    x = tiny.images(32)
    x[7, 0, 0, 0] = -math.inf
    with pytest.raises(TrainingError, match="first: example 7"):
        list(fit(tiny.stack(), x, epochs=1, batch_size=16))
