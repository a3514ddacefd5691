"""How a step is computed: precision, memory, compilation, determinism; the mathematics stays."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from owae.compilation import compiled
from owae.distributions import Distribution
from owae.errors import ConfigError, TrainingError
from owae.interfaces import Cost, Divergence, Prior, Regulariser
from owae.model.defaults import SquaredEuclidean, StandardNormal
from owae.model.stack import Level, Stack
from owae.torch_state import deterministic
from owae.training import fit
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet
from owae_mmd.mmd import MMD

SGD = {"name": "SGD", "lr": 0.1}


def images_stack(seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    bottom = ResNet((3, 8, 8), channels=2, filters=4, resample="down", output="sigmoid")
    return Stack([bottom, ResNet((2, 4, 4), channels=1, filters=4)], divergence=MMD(), weights=[0.5, 0.5])


def same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor], **close: Any) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if close:
            torch.testing.assert_close(value, theirs[name], **close)
        else:
            assert torch.equal(value, theirs[name]), name


def state(stack: Stack) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in stack.state_dict().items()}


# Precision


class NoDoubles(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            assert not (isinstance(value, Tensor) and value.dtype == torch.float64), f"{func} makes a float64"
        return out


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "clip_gradients": 1.0, "ema": 0.99}, {"precision": "bf16-mixed"}])
def test_no_float64_is_made_in_a_step(options: dict[str, Any]):
    """Some accelerators have none."""
    steps = fit(tiny.stack(), tiny.images(), epochs=2, batch_size=16, schedule={"name": "OneCycleLR", "max_lr": 1e-2}, **options)
    with NoDoubles():
        assert len(list(steps)) in (4, 8)
    with pytest.raises(AssertionError, match="makes a float64"), NoDoubles():
        torch.zeros(1, dtype=torch.float64)


class _Probe:
    """Notes the precision that a product has where it is called."""

    def __init__(self) -> None:
        self.seen: list[torch.dtype] = []

    def look(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            matrix = tensor.flatten(1)
            self.seen += [tensor.dtype, (matrix @ matrix.T).dtype]


class ProbedCost(Cost):
    name = "probed-cost"

    def __init__(self, probe: _Probe) -> None:
        super().__init__()
        self.probe = probe

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.probe.look(x, y)
        return SquaredEuclidean()(x, y)


class ProbedDivergence(Divergence):
    name = "probed-divergence"

    def __init__(self, probe: _Probe) -> None:
        super().__init__()
        self.probe = probe

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.probe.look(x, y)
        return (x.mean(0) - y.mean(0)).square().sum()


class ProbedRegulariser(Regulariser):
    name = "probed-regulariser"

    def __init__(self, probe: _Probe) -> None:
        super().__init__()
        self.probe = probe

    def forward(self, q: Distribution) -> Tensor:
        self.probe.look(q.mean, q.variance, q.rsample())
        return q.variance.flatten(1).sum(1)


class ProbedPrior(StandardNormal):
    name = "probed-prior"

    def __init__(self, shape: tuple[int, ...], probe: _Probe, /) -> None:
        super().__init__(shape)
        self.probe = probe

    def sample(self, n: int) -> Tensor:
        draws = super().sample(n)
        self.probe.look(draws)
        return draws


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("stacked", [1, 2])
def test_costs_penalties_divergence_and_prior_are_islands_of_float32(precision: str, stacked: int):
    probe, networks = _Probe(), []
    torch.manual_seed(0)
    layers = [MLP((1, 8, 8), latent=8, hidden=[16], output="sigmoid"), MLP((8,), latent=2, hidden=[16])]
    for module in layers[0].modules():
        module.register_forward_hook(lambda module, inputs, output: networks.append(output.dtype))
    levels = [Level(layer, cost=ProbedCost(probe), regulariser=ProbedRegulariser(probe)) for layer in layers]
    prior: Prior = ProbedPrior((2,), probe)
    stack = Stack(levels, divergence=ProbedDivergence(probe), weights=[0.5] * stacked, prior=prior, matched_level=stacked)
    steps = list(fit(stack, tiny.images(), epochs=1, batch_size=16, precision=precision))
    assert set(probe.seen) == {torch.float32}
    assert {torch.bfloat16 if precision == "bf16-mixed" else torch.float16} <= set(networks)
    assert all(p.dtype == torch.float32 for p in stack.parameters())
    assert all(term.dtype == torch.float32 for term in steps[0].objective.terms().values())


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("16-mixed", marks=pytest.mark.slow)])
def test_half_precision_trains_as_float32_does(precision: str):
    losses = []
    for name in ("32", precision):
        torch.manual_seed(0)
        steps = list(fit(tiny.stack(), tiny.images(), epochs=10, batch_size=16, precision=name))
        losses.append(torch.stack([step.objective.loss.detach() for step in steps[-4:]]).mean())
        assert not any(step.skipped for step in steps)
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.0)


def test_another_precision_is_refused():
    with pytest.raises(ConfigError, match=r"precision: found '64'; .*valid: 16-mixed, 32, bf16-mixed"):
        fit(tiny.stack(), tiny.images(), epochs=1, precision="64")


# Memory


def test_activations_computed_again_change_nothing():
    made = {}
    for again in (False, True):
        stack = images_stack()
        torch.manual_seed(1)
        steps = fit(stack, tiny.images(32, (3, 8, 8)), epochs=1, batch_size=16, checkpoint_activations=again, optimizer=SGD)
        gradients = [{name: p.grad.clone() for name, p in stack.named_parameters() if p.grad is not None} for _ in steps]
        made[again] = state(stack), *gradients
        assert "encode" not in vars(stack.layers[0])
    for plain, again in zip(made[False], made[True], strict=True):
        same_state(again, plain, rtol=1e-6, atol=1e-7)


def test_activations_are_not_kept():
    """Fewer bytes are saved for the backward pass."""

    def saved(again: bool) -> int:
        sizes = []
        stack = images_stack()
        steps = iter(fit(stack, tiny.images(32, (3, 8, 8)), epochs=1, batch_size=32, checkpoint_activations=again))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            next(steps)
        return sum(sizes)

    assert saved(True) < 0.5 * saved(False)


def test_channels_last_is_the_same_training_and_the_same_file():
    made = {}
    for name in ("contiguous", "channels_last"):
        stack, again = images_stack(), images_stack(seed=3)
        torch.manual_seed(1)
        options = {"epochs": 2, "batch_size": 16, "memory_format": name}
        steps = fit(stack, tiny.images(32, (3, 8, 8)), **options)
        taken = iter(steps)
        next(taken)
        half = steps.state()
        filters = stack.get_parameter("levels.0.layer.encoder.branch.0.weight")  # (4, 3, 5, 5): the two formats differ
        assert filters.is_contiguous(memory_format=torch.channels_last) == (name == "channels_last")
        half = {**half, "optimizer": _contiguous(half["optimizer"]), "model": _contiguous(half["model"])}  # as a file has them
        resumed = fit(again, tiny.images(32, (3, 8, 8)), **options)
        losses = [step.objective.loss.item() for step in taken]
        resumed.restore(half)
        assert [step.objective.loss.item() for step in resumed] == losses
        same_state(state(again), state(stack))
        made[name] = state(stack)
    same_state(made["channels_last"], made["contiguous"], rtol=1e-3, atol=1e-4)


def _contiguous(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.clone(memory_format=torch.contiguous_format)
    if isinstance(tree, dict):
        return {key: _contiguous(value) for key, value in tree.items()}
    return [_contiguous(value) for value in tree] if isinstance(tree, list) else tree


def test_another_memory_format_is_refused():
    with pytest.raises(ConfigError, match=r"memory_format: found 'nhwc'; .*channels_last"):
        fit(tiny.stack(), tiny.images(), epochs=1, memory_format="nhwc")


# Compilation


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_training_is_the_same_and_leaves_no_trace():
    """The same names both ways, and the same numbers to rounding; a last batch of another size."""

    def made(seed: int = 0) -> Stack:  # one level, for the compiler takes seconds for each
        torch.manual_seed(seed)
        return Stack([MLP((1, 8, 8), latent=2, hidden=[16], output="sigmoid")], divergence=MMD(), weights=[0.5])

    ended = {}
    for translated in (False, True):
        stack = made()
        torch.manual_seed(1)
        steps = fit(stack, tiny.images(24), epochs=2, batch_size=16, compile=translated, optimizer=SGD)
        losses = [step.objective.loss.item() for step in steps]
        ended[translated] = losses, steps.state()
    assert ended[True][1]["model"].keys() == ended[False][1]["model"].keys() == made().state_dict().keys()
    assert ended[True][0] == pytest.approx(ended[False][0], rel=1e-4)
    for translated in (False, True):
        resumed = fit(made(seed=4), tiny.images(24), epochs=3, batch_size=16, compile=translated, optimizer=SGD)
        resumed.restore(ended[not translated][1])
        assert next(iter(resumed)).step == 5


@pytest.mark.filterwarnings("default")
def test_a_compiler_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(function: Any, **options: Any) -> Any:
        def run(z: Tensor) -> Any:
            raise BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler"), None)  # pyright: ignore[reportArgumentType]

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TrainingError, match=r"no C\+\+ compiler.*compile = false would work"):
        list(fit(tiny.stack(), tiny.images(), epochs=1, compile=True))
    layer = tiny.stack().layers[0]
    run = compiled(layer.encode, must=False)
    assert run(tiny.images(4)).mean.shape == run(tiny.images(4)).mean.shape == (4, 8)
    assert caplog.text.count("going on without") == 1


# Determinism


def test_deterministic_algorithms_are_asked_for_within_the_block_alone():
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        list(fit(tiny.stack(), tiny.images(), epochs=1, batch_size=16))
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(TrainingError, match="deterministic = false would work"), deterministic():
        raise RuntimeError("scatter does not have a deterministic implementation, but you set …")
    with pytest.raises(RuntimeError, match="something else"), deterministic():
        raise RuntimeError("something else")
