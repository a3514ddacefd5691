"""The engine's laws: the slice law, Eqs. 8, 11 and 14, and their gradients, over a table of stacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toys import Affine, Bounded, Moments, Spread, whole_and_upper

from owae.distributions import Dirac, Gaussian
from owae.interfaces import Divergence
from owae.model.context import Context
from owae.model.defaults import Ancestral, Euclidean, SquaredEuclidean, StandardNormal
from owae.model.stack import Level, Stack
from owae.tensor_checks import unchecked
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet

IMAGES = (1, 4, 4)


def affine(**keywords: object) -> Stack:
    """Three levels of linear maps, 16 → 4 → 3 → 2."""
    layers = [Affine(IMAGES, latent=4, noise=False), Affine((4,), latent=3), Affine((3,), latent=2)]
    return stack_of([Level(layer) for layer in layers], **keywords)


def stack_of(levels: list[Level], **keywords: object) -> Stack:
    made = {"divergence": Moments(), "weights": [0.5, 0.2, 0.1][: len(levels)], **keywords}
    return Stack(levels, **made)  # pyright: ignore[reportArgumentType] # a table's keywords


def mixed() -> Stack:
    return stack_of(
        [
            Level(Affine(IMAGES, latent=4), cost=Bounded(), regulariser=Spread(), penalty_weight=2.0, space="data"),
            Level(MLP((4,), latent=3, hidden=[8]), cost=Euclidean(), space="data"),
            Level(MLP((3,), latent=2, hidden=[]), regulariser=Spread(), penalty_weight=0.5),
        ]
    )


def resnets() -> Stack:
    first = ResNet(IMAGES, channels=2, filters=4, resample="down", output="sigmoid")
    return stack_of([Level(first), Level(ResNet((2, 2, 2), channels=1, filters=4)), Level(MLP((1, 2, 2), latent=2, hidden=[8]))])


STACKS: dict[str, Callable[[], Stack]] = {
    "plain": affine,
    "perceptrons": lambda: stack_of([Level(MLP(IMAGES, latent=4, output="sigmoid")), Level(MLP((4,), latent=2))]),
    "residual networks": resnets,
    "costs without closed form": lambda: stack_of(
        [Level(Affine(IMAGES, latent=4), cost=Bounded()), Level(Affine((4,), latent=3), cost=Euclidean())]
    ),
    "regularised": lambda: stack_of(
        [
            Level(Affine(IMAGES, latent=4), regulariser=Spread()),
            Level(Affine((4,), latent=3), regulariser=Spread(), penalty_weight=0.1),
        ]
    ),
    "costs in data space": lambda: stack_of([Level(layer, space="data") for layer in affine().layers]),
    "the data as targets": lambda: stack_of([Level(layer, space="data", target="data") for layer in affine().layers]),
    "mixed": mixed,
    "deterministic": lambda: stack_of([Level(Affine(IMAGES, latent=4, noise=False)), Level(Affine((4,), latent=3, noise=False))]),
    "stopped at 2 of 3": lambda: affine(matched_level=2, weights=[0.5, 0.2]),
    "cut off by a zero": lambda: affine(weights=[0.5, 0.0, 0.0]),
}
table = pytest.mark.parametrize("make", STACKS.values(), ids=STACKS.keys())


def seeded(make: Callable[[], Stack], seed: int = 0) -> tuple[Stack, Tensor]:
    torch.manual_seed(seed)
    return make(), torch.rand(8, *IMAGES)


@table
def test_slice_law_to_the_bit(make):
    stack, x = seeded(make)
    z = x
    while stack.matched_level > 1:
        whole, upper = whole_and_upper(stack, z, x)
        assert torch.equal(whole.transport, whole.costs[0] + stack.multipliers[0] * upper.transport)
        assert all(torch.equal(a, b) for a, b in zip(whole.costs[1:], upper.costs, strict=True))
        assert torch.equal(whole.divergence, upper.divergence)
        stack, z = stack[1:], whole.codes[0].detach()


@table
def test_equation_14_unrolled_by_hand(make):
    stack, x = seeded(make)
    torch.manual_seed(1)
    found = stack(x)
    torch.manual_seed(1)
    levels = [level for level in stack.levels if isinstance(level, Level)][: stack.matched_level]
    codes, penalties, costs = [x], [], []
    for level in levels:
        q = level.layer.encode(codes[-1])
        codes.append(q.rsample())
        penalties.append(level.penalty_weight * level.regulariser(q).mean() if level.regulariser else torch.zeros(()))
    draws = stack.prior.sample(len(x))
    for layer in reversed(stack.layers[stack.matched_level :]):
        draws = layer.decode(draws).rsample()
    top = stack.divergence(codes[-1], draws)
    reconstructions: dict[int, Tensor] = {}
    predicted = {}
    for n, level in reversed(list(enumerate(levels))):
        predicted[n] = level.layer.decode(codes[n + 1])
        if n == 0:
            reconstructions[1] = predicted[0].mean
        elif level.space == "data" or (n + 1 < len(levels) and levels[n + 1].space == "data" and levels[n + 1].target == "code"):
            reconstructions[n + 1] = predicted[n].rsample()
            for layer in reversed(stack.layers[:n]):
                reconstructions[n + 1] = layer.decode(reconstructions[n + 1]).mean
        if level.space == "latent" or n == 0:
            costs.insert(0, level.cost.expected(codes[n], predicted[n]).mean())
        else:
            costs.insert(0, torch.zeros(()))
    for n, level in enumerate(levels):
        if level.space == "data" and n > 0:
            target = x if level.target == "data" else reconstructions[n]
            costs[n] = level.cost.expected(target, Dirac(reconstructions[n + 1])).mean()
    transport = sum(weight * term for weight, term in zip(found.weights, [*costs, top], strict=True))
    assert isinstance(transport, Tensor)
    torch.testing.assert_close(found.transport, transport)
    torch.testing.assert_close(found.loss, transport + torch.stack(penalties).sum())
    torch.testing.assert_close(torch.stack(found.costs), torch.stack(costs))
    torch.testing.assert_close(found.divergence, top)


@pytest.mark.parametrize("products", [[0.5, 0.2, 0.1], [1.0, 1.0, 1.0], [1e-3, 1e-6, 10.0], [0.0, 0.0, 0.0], [2.0, 0.5, 0.0]])
def test_weights_are_the_products_of_the_multipliers(products):
    stack = affine(weights=products)
    torch.testing.assert_close(stack.weights, (1.0, *products))
    for (below, w), multiplier in zip(itertools.pairwise((1.0, *products)), stack.multipliers, strict=True):
        assert multiplier * below == pytest.approx(w)


def gradient_names(stack: Stack) -> set[str]:
    return {name for name, parameter in stack.named_parameters() if parameter.grad is not None and bool(parameter.grad.any())}


def names(stack: Stack, *parts: str) -> set[str]:
    return {name for name, _ in stack.named_parameters() if name.startswith(parts)}


def test_equation_8_reaches_deeper_decoders_and_no_deeper_encoder():
    stack, x = seeded(lambda: affine(matched_level=1, weights=[0.3]))
    objective = stack(x)
    assert len(objective.costs) == len(objective.codes) == 1
    objective.loss.backward()
    decoders = names(stack, "levels.1.layer.down", "levels.2.layer.down")
    encoders = names(stack, "levels.1.layer.up", "levels.2.layer.up")
    reached = gradient_names(stack)
    assert decoders <= reached
    assert not encoders & reached
    assert names(stack, "levels.0.layer.up.weight", "levels.0.layer.down.weight") <= reached


@pytest.mark.parametrize("stacked", [1, 2])
def test_equation_8_is_a_shorter_stack_with_the_ancestral_prior(stacked):
    weights = [0.3, 0.2][:stacked]
    stack, x = seeded(lambda: affine(matched_level=stacked, weights=weights))
    lower = Stack(
        stack.layers[:stacked], divergence=Moments(), weights=weights, prior=Ancestral(stack.layers[stacked:], StandardNormal((2,)))
    )
    results = []
    for each in (stack, lower):
        torch.manual_seed(3)
        results.append(each(x).transport)
    assert torch.equal(*results)


@table
def test_gradients_flow_everywhere(make):
    stack, x = seeded(make)
    torch.manual_seed(1)
    stack(x).loss.backward()
    # A deeper level matched through its prior alone is decoded only; one behind a zero weight gets nothing at all.
    silent = {".up", ".encoder"} if stack.matched_level < stack.depth else set()
    expected = {name for name, _ in stack.named_parameters()}
    expected -= {name for name in expected if name.startswith("levels.2") and any(part in name for part in silent)}
    if 0.0 in stack.weights:
        expected -= names(stack, "levels.2")
    if not any(isinstance(layer, Affine) and not layer.noise for layer in stack.layers):
        assert gradient_names(stack) == expected
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in stack.parameters())


def test_squared_euclidean_in_closed_form_against_200_000_draws():
    torch.manual_seed(0)
    x, mean, variance = torch.randn(3, 1, 3, dtype=torch.float64)
    variance, cost, count = variance.exp(), SquaredEuclidean(), 200_000
    draws = cost(x.expand(count, 3), Gaussian(mean.expand(count, 3), variance.expand(count, 3)).rsample())
    told, error = cost.expected(x, Gaussian(mean, variance)), draws.std() / count**0.5
    assert abs(draws.mean() - told) < 4 * error < 0.02 * told  # the second, so that the comparison can tell


@pytest.mark.parametrize("name", ["plain", "costs without closed form", "regularised", "costs in data space", "stopped at 2 of 3"])
def test_gradcheck_in_float64(name):
    stack, x = seeded(STACKS[name])
    stack, x = stack.double(), x[:3].double().requires_grad_()
    named = dict(stack.named_parameters())

    def loss(x: Tensor, *parameters: Tensor) -> Tensor:
        torch.manual_seed(1)  # the noise is an input that stays
        return torch.func.functional_call(stack, dict(zip(named, parameters, strict=True)), (x,)).loss

    parameters = [parameter.detach().requires_grad_() for parameter in named.values()]
    assert torch.autograd.gradcheck(loss, (x, *parameters), fast_mode=True)


class _NoFloat64(TorchDispatchMode):
    """Raises where an operation makes a float64 tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.float64 for leaf in tree_leaves(result)):
            raise AssertionError(f"{func} makes float64")
        return result


@pytest.mark.parametrize("make", [*STACKS.values(), tiny.stack], ids=[*STACKS.keys(), "with an MMD"])
def test_no_float64_in_a_training_step(make):
    torch.manual_seed(0)
    stack = make()
    x = torch.rand(8, *stack.layers[0].in_shape)
    optimiser = torch.optim.Adam(stack.parameters())
    with _NoFloat64():
        for context in (unchecked(), torch.enable_grad()):
            with context:
                objective = stack(x)
            objective.scalars()
            optimiser.zero_grad()
            objective.loss.backward()
            optimiser.step()


def test_the_float64_guard_can_fail():
    with _NoFloat64(), pytest.raises(AssertionError, match="makes float64"):
        torch.ones(2).double()


@table
def test_autocast_gives_float32_terms_near_the_exact_ones(make):
    stack, x = seeded(make)
    torch.manual_seed(1)
    exact = stack(x)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective = stack(x)
    assert {term.dtype for term in objective.terms().values()} == {torch.float32}
    assert objective.loss.item() == pytest.approx(exact.loss.item(), rel=0.1)
    objective.loss.backward()


def test_ten_levels_of_residual_networks():
    torch.manual_seed(0)
    levels, shape = [], (3, 64, 64)
    for i, (channels, halve) in enumerate(
        [(8, True), (6, False), (4, False), (8, True), (6, False), (4, False), (8, True), (6, False), (4, False), (8, True)]
    ):
        output = "tanh" if i == 0 else "linear"
        levels.append(ResNet(shape, channels=channels, filters=2, resample="down" if halve else "none", output=output))
        shape = levels[-1].latent_shape
    stack = Stack(levels, divergence=Moments(), weights=[0.1 ** (1 + i / 3) for i in range(9)] + [0.5])
    objective = stack(2 * torch.rand(2, 3, 64, 64) - 1)
    objective.loss.backward()
    assert [tuple(code.shape[1:]) for code in objective.codes][-1] == (8, 4, 4)
    assert len(objective.costs) == 10
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in stack.parameters())
    assert stack.eval().sample(2).shape == (2, 3, 64, 64)


def test_the_matched_sample_is_gathered():
    class Counting(Divergence):
        name = "counting"

        def forward(self, x, y):
            return 0 * x.sum() + len(x) * 1000 + len(y)

    stack, x = seeded(lambda: affine(divergence=Counting()))
    context = Context(gather=lambda z: torch.cat([z, z, z]))
    assert stack(x, context=context).divergence.item() == 24 * 1000 + 24
    assert stack[1:](x.flatten(1)[:, :4], context=context).divergence.item() == 24 * 1000 + 24


def test_a_slice_shares_its_modules_and_owns_no_more():
    stack, _ = seeded(mixed)
    upper = stack[1:]
    assert {id(p) for p in upper.parameters()} == {id(p) for name, p in stack.named_parameters() if not name.startswith("levels.0")}
    assert [id(m) for m in upper.layers] == [id(m) for m in stack.layers[1:]]
    assert not stack.eval()[1:].training
    assert isinstance(upper, nn.Module)
