"""Costs of the levels, in data space and on shares of the rows: what is decoded, in which batches, and that the laws still hold."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from toys import Affine, Moments, whole_and_upper

from owae.distributions import Distribution
from owae.errors import ConfigError
from owae.interfaces import LatentLayer
from owae.model.context import Context
from owae.model.stack import CostSpace, CostTarget, Level, Stack
from owae_layers.mlp import MLP

IMAGES = (1, 4, 4)


EVEN, ENDS = (1 / 3, 1 / 3, 1 / 3), (0.5, 0.25, 1.0)


def made(target: CostTarget, rows: Sequence[float] = (1.0, 1.0, 1.0), size: int = 8) -> tuple[Stack, Tensor]:
    torch.manual_seed(0)
    layers = [MLP(IMAGES, latent=4, output="sigmoid"), MLP((4,), latent=3), MLP((3,), latent=2)]
    levels = [Level(layer, space="data", target=target, rows=share) for layer, share in zip(layers, rows, strict=True)]
    return Stack(levels, divergence=Moments(), weights=[0.5, 0.2, 0.1]), torch.rand(size, *IMAGES)


def decoded(stack: Stack, x: Tensor) -> list[list[int]]:
    """The sizes of the batches that each decoder gets, bottom first."""
    seen: list[list[int]] = [[] for _ in stack.layers]

    def spy(layer: LatentLayer, z: Tensor) -> Distribution:
        seen[stack.layers.index(layer)].append(len(z))
        return layer.decode(z)

    stack(x, context=Context(decode=spy))
    return seen


@pytest.mark.parametrize(("target", "rows"), [("code", (1, 1, 1)), ("data", (1, 1, 1)), ("data", EVEN), ("data", ENDS)])
def test_slice_law_in_data_space_where_batches_are_shared(target, rows):
    """In evaluation mode, for in training batch norm looks at the whole batch."""
    stack, x = made(target, rows, size=32)
    stack(x)
    stack, x = stack.double().eval(), x.double()
    z = x
    while stack.matched_level > 1:
        whole, upper = whole_and_upper(stack, z, x)
        torch.testing.assert_close(whole.transport, whole.costs[0] + stack.multipliers[0] * upper.transport)
        stack, z = stack[1:], whole.codes[0].detach()


@pytest.mark.parametrize("target", ["code", "data"])
def test_each_decoder_takes_all_that_comes_down_in_one_batch(target):
    assert decoded(*made(target)) == [[8 * 3], [8 * 2], [8]]


@pytest.mark.parametrize(
    ("rows", "size", "batches"),
    [
        (EVEN, 60, [60, 40, 20]),  # each row descends from one level: (N + 1)/2 batches for three levels
        (EVEN, 32, [33, 22, 11]),
        (ENDS, 64, [32 + 16 + 64, 16 + 64, 64]),
        ((0.1, 0.1, 0.1), 60, [24, 16, 8]),  # no decoder sees fewer than eight rows
        (EVEN, 5, [15, 10, 5]),  # nor less than all of a batch as short as that
        ((1e-9, 1, 1e-9), 9, [8 + 9 + 8, 9 + 8, 8]),
    ],
)
def test_each_decoder_takes_its_shares_of_the_rows(rows, size, batches):
    assert decoded(*made("data", rows, size)) == [[count] for count in batches]


def exact(rows: Sequence[float], space: CostSpace = "data", target: CostTarget = "data") -> Stack:
    """A stack without noise, whose costs tell at which rows they were measured."""
    torch.manual_seed(0)
    layers = [Affine(IMAGES, latent=4, noise=False), Affine((4,), latent=3, noise=False), Affine((3,), latent=2, noise=False)]
    levels = [Level(layer, space=space, target=target, rows=share) for layer, share in zip(layers, rows, strict=True)]
    return Stack(levels, divergence=Moments(), weights=[0.5, 0.2, 0.1]).double()


@pytest.mark.parametrize(("space", "target"), [("latent", "code"), ("data", "data")])
@pytest.mark.parametrize("rows", [EVEN, ENDS, (0.7, 0.7, 0.7), (1.0, 0.3, 0.001)])
def test_a_share_of_the_rows_leaves_the_expected_costs_as_they_are(rows, space, target):
    """Each row comes to each place of the batch once: then the mean over batches is the mean over all rows."""
    stack, x = exact(rows, space, target), torch.rand(30, *IMAGES, dtype=torch.float64)
    batches = [torch.stack(stack(x.roll(shift, 0)).costs) for shift in range(len(x))]
    assert torch.stack(batches).std(0)[torch.tensor(rows) < 1].gt(1e-6).all()  # and they do look at other rows
    whole = exact((1.0, 1.0, 1.0), space, target)
    torch.testing.assert_close(torch.stack(batches).mean(0), torch.stack(whole(x).costs))


def test_shares_that_add_up_to_one_leave_each_row_to_one_level():
    stack, x = exact((0.5, 0.3, 0.2)), torch.rand(60, *IMAGES, dtype=torch.float64)
    costs = stack(x).costs
    for row in range(len(x)):
        changed = x.clone()
        changed[row] += 1
        assert [not torch.equal(a, b) for a, b in zip(costs, stack(changed).costs, strict=True)].count(True) == 1


def test_a_reconstruction_that_is_a_target_is_made_of_all_rows():
    torch.manual_seed(0)
    layers = [Affine(IMAGES, latent=4, noise=False), Affine((4,), latent=3, noise=False), Affine((3,), latent=2, noise=False)]
    x = torch.rand(32, *IMAGES)
    costs = []
    for share in (0.25, 1.0):
        levels = [
            Level(layers[0], rows=0.5),
            Level(layers[1], space="data", target="data", rows=share),
            Level(layers[2], space="data"),
        ]
        stack = Stack(levels, divergence=Moments(), weights=[0.5, 0.2, 0.1])
        assert decoded(stack, x) == [[16 + 32 + 32], [32 + 32], [32]]
        costs.append(torch.stack(stack(x).costs))
    assert torch.equal(*costs)


def test_shares_of_rows_that_cannot_be():
    layer = MLP(IMAGES, latent=4)
    for share in (0.0, -0.5, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=rf"rows is {share}; .* above 0 and at most 1"):
            Level(layer, rows=share)
    with pytest.raises(ConfigError, match=r'rows = 0\.5 needs target = "data"'):
        Level(layer, space="data", rows=0.5)


def test_a_slice_whose_target_is_the_data_asks_for_them():
    stack, x = made("data")
    codes = stack(x).codes
    with pytest.raises(ValueError, match=r"level 1 of this slice compares with the data: call it as stack\[i:\]\(z, data=x\)"):
        stack[1:](codes[0])
    with pytest.raises(ConfigError, match='needs space = "data"'):
        Level(stack.layers[0], target="data")


class Own:
    """The moments and draws of another distribution, by a class of a plugin's own."""

    def __init__(self, p: Distribution) -> None:
        self._p = p

    @property
    def mean(self) -> Tensor:
        return self._p.mean

    @property
    def variance(self) -> Tensor:
        return self._p.variance

    def rsample(self) -> Tensor:
        return self._p.rsample()


@pytest.mark.parametrize("target", ["code", "data"])
def test_decoders_can_give_distributions_of_a_class_of_their_own(target: CostTarget):
    """The draws are of the whole batch there, so only what does not depend on them is compared."""
    torch.manual_seed(0)
    layers = [Affine((4,), latent=3, noise=False), Affine((3,), latent=2, noise=False), Affine((2,), latent=1, noise=False)]
    stack = Stack([Level(layer, space="data", target=target) for layer in layers], divergence=Moments(), weights=[1, 1, 1])
    x = torch.rand(16, 4)
    torch.manual_seed(1)
    expected = stack(x)
    torch.manual_seed(1)
    found = stack(x, context=Context(decode=lambda layer, z: Own(layer.decode(z))))
    for one, other in zip(expected.costs, found.costs, strict=True):
        torch.testing.assert_close(one, other)


def test_running_statistics_are_those_of_the_batches_trained_on():
    """So that evaluation mode normalises as training did: the same costs, by the statistics of one large batch."""
    stack, _ = made("data")
    for module in stack.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 1.0  # the statistics of the newest batch alone
    torch.manual_seed(1)
    x = torch.rand(2000, *IMAGES)
    torch.manual_seed(2)
    trained = stack(x)
    torch.manual_seed(2)
    evaluated = stack.eval()(x)
    for cost, same in zip(trained.costs, evaluated.costs, strict=True):
        torch.testing.assert_close(cost, same, rtol=1e-3, atol=1e-5)
