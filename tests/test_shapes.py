"""Data of another shape than the model's are refused where they enter: broadcasting would compare every row with every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from jaxtyping import TypeCheckError
from torch import Tensor
from torch.utils.data import DataLoader

from owae import DataError, SquaredEuclidean, Stack, fit
from owae.model.defaults import Euclidean
from owae_layers import MLP
from owae_mmd import MMD
from owae_mmd.distances import squared_distances


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SquaredEuclidean().forward(torch.rand(4, 2), torch.rand(3, 2)),
        lambda: MLP((8,), latent=2, hidden=[4]).encode(torch.zeros(4, 8, dtype=torch.int64)),
        lambda: squared_distances(torch.rand(4, 2), torch.rand(4, 3), False, False),
    ],
)
def test_annotated_shapes_are_checked_in_tests(wrong: Callable[[], object]):
    with pytest.raises(TypeCheckError):
        wrong()


def vectors() -> Stack:
    return Stack([MLP((8,), latent=2, hidden=[4])], divergence=MMD(), weights=[1.0])


@pytest.mark.parametrize(
    ("shape", "call"),
    [
        ((8, 8), r"reshape\(-1, 1, 8, 8\)"),
        ((8, 8, 1), r"movedim\(-1, 1\)"),
        ((64,), r"reshape\(-1, 1, 8, 8\)"),
        ((1, 16, 4), "reshape"),
        ((3, 8, 8), "expected"),
    ],
)
def test_images_of_another_shape_are_refused_everywhere(shape: tuple[int, ...], call: str):
    stack, x = tiny.stack().eval(), torch.rand(16, *shape)
    for use in (stack.encode, stack.reconstruct, stack):
        with pytest.raises(ValueError, match=rf"events of shape .*expected \(1, 8, 8\).*{call if call != 'expected' else ''}"):
            use(x)
    for data, validation in ((x, None), (tiny.images(), x)):
        with pytest.raises(DataError, match=r"expected \(1, 8, 8\)"):
            fit(stack, data, validation=validation, epochs=1)


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (4,)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(DataError, match=r"expected \(8,\)"):
        fit(vectors(), torch.rand(16, *shape), epochs=1)


def test_codes_of_another_shape_are_refused():
    stack = tiny.stack().eval()
    with pytest.raises(ValueError, match=r"z has events of shape \(3,\), expected \(2,\)"):
        stack.decode(torch.rand(4, 3))
    with pytest.raises(ValueError, match="level is 3; a stack of 2 levels decodes from 1 to 2"):
        stack.reconstruct(tiny.images(4), level=3)


@pytest.mark.parametrize("cost", [SquaredEuclidean(), Euclidean()])
def test_a_cost_compares_events_of_one_shape(cost: SquaredEuclidean | Euclidean):
    with pytest.raises(ValueError, match=r"y has events of shape \(1, 8\), expected \(8,\)"):
        cost(torch.rand(4, 8), torch.rand(4, 1, 8))


def as_list(x: Tensor) -> list[Tensor]:
    return list(x)


@pytest.mark.parametrize(
    "form", [Tensor.numpy, as_list, Tensor.tolist, lambda x: x.double().numpy(), lambda x: np.asfortranarray(x.numpy())]
)
def test_arrays_and_sequences_train_as_the_tensor_does(form):
    losses = []
    for data in (tiny.images(32), form(tiny.images(32))):
        torch.manual_seed(0)
        losses.append([step.objective.loss.item() for step in fit(tiny.stack(), data, epochs=1, batch_size=16)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("data", [DataLoader([1, 2]), Path("images"), None, {"x": 1}, [[1.0], [1.0, 2.0]]])  # pyright: ignore[reportArgumentType]
def test_what_is_no_data_is_said(data: object):
    with pytest.raises(DataError, match=r"the data"):
        fit(tiny.stack(), data, epochs=1)
