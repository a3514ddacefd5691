"""Costs measured in data space: what is decoded, in which batches, and that the laws still hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys import Moments, whole_and_upper

from owae.errors import ConfigError
from owae.model.stack import CostTarget, Level, Stack
from owae_layers.mlp import MLP

IMAGES = (1, 4, 4)


def made(target: CostTarget) -> tuple[Stack, Tensor]:
    torch.manual_seed(0)
    layers = [MLP(IMAGES, latent=4, output="sigmoid"), MLP((4,), latent=3), MLP((3,), latent=2)]
    levels = [Level(layer, space="data", target=target) for layer in layers]
    return Stack(levels, divergence=Moments(), weights=[0.5, 0.2, 0.1]), torch.rand(8, *IMAGES)


@pytest.mark.parametrize("target", ["code", "data"])
def test_slice_law_in_data_space_where_batches_are_shared(target):
    """In evaluation mode, for in training batch norm looks at the whole batch."""
    stack, x = made(target)
    stack(x)
    stack, x = stack.double().eval(), x.double()
    z = x
    while stack.matched_level > 1:
        whole, upper = whole_and_upper(stack, z, x)
        torch.testing.assert_close(whole.transport, whole.costs[0] + stack.multipliers[0] * upper.transport)
        stack, z = stack[1:], whole.codes[0].detach()


@pytest.mark.parametrize("target", ["code", "data"])
def test_each_decoder_takes_all_that_comes_down_in_one_batch(target):
    stack, x = made(target)
    seen: dict[int, list[int]] = {}
    for n, layer in enumerate(stack.layers):

        def spy(z: Tensor, n=n, decode=layer.decode):
            seen.setdefault(n, []).append(len(z))
            return decode(z)

        layer.decode = spy
    stack(x)
    assert [seen[n] for n in range(3)] == [[8 * 3], [8 * 2], [8]]


def test_a_slice_whose_target_is_the_data_asks_for_them():
    stack, x = made("data")
    codes = stack(x).codes
    with pytest.raises(ValueError, match=r"level 1 of this slice compares with the data: call it as stack\[i:\]\(z, data=x\)"):
        stack[1:](codes[0])
    with pytest.raises(ConfigError, match='needs space = "data"'):
        Level(stack.layers[0], target="data")


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
