"""What enters as data: types, scales and values are taken where they are unambiguous, and named where they are not."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from owae import DataError, DataSource, Stack, TrainingError, fit
from owae.data.sources import TensorSource, as_source
from owae.errors import InputError
from owae.tensor_checks import as_tensor
from owae_layers import MLP
from owae_mmd import MMD


def first_loss(data: Any, stack: Stack | None = None, **options: Any) -> float:
    stack = tiny.stack() if stack is None else stack
    torch.manual_seed(0)
    return next(iter(fit(stack, data, epochs=1, batch_size=16, **options))).objective.loss.item()


class Pictures(Dataset):
    """As torchvision's: (picture, class)."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return tiny.images(32)[index], index % 3


def read_only(x: Tensor) -> np.ndarray:
    array = x.numpy().copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "form",
    [
        read_only,
        lambda x: x.numpy().astype(">f4"),
        lambda x: x.numpy().astype(np.longdouble),
        lambda x: np.repeat(x.numpy(), 2, axis=3)[..., ::2],
        lambda x: x.numpy()[::-1][::-1],
        lambda x: x.double(),
        lambda x: x.double().clone().requires_grad_(),
        lambda x: list(x.numpy()),
        TensorDataset,
        lambda x: Pictures(),
        lambda x: TensorSource(x.double()),
    ],
)
def test_what_is_unambiguous_trains_as_the_tensor_does(form: Any):
    x = tiny.images(32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first_loss(form(x)) == pytest.approx(first_loss(x), rel=1e-6)


def test_half_precision_and_booleans_are_floats():
    x = tiny.images(32)
    assert first_loss(x.half()) == pytest.approx(first_loss(x), rel=1e-2)
    assert first_loss(x > 0.5) == first_loss((x > 0.5).float())


def test_a_stack_in_float64_trains_in_float64():
    x = tiny.images(32).double()
    steps = fit(tiny.stack().double(), x, epochs=1, batch_size=16)
    assert next(iter(steps)).objective.loss.dtype == torch.float64


def test_a_memory_map_stays_on_the_disk(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.asfortranarray(tiny.images(32).numpy()))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tensor = as_tensor("x", mapped)
    assert tensor.data_ptr() == mapped.ctypes.data
    assert first_loss(mapped) == first_loss(tiny.images(32))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(tiny.images(4))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiny.images(32).mul(255).long(), r"holds int64 from 0 to 25\d; floats, such as the data\.float\(\).*bytes"),
        (tiny.images(32).mul(65535).numpy().astype(np.uint16), "holds uint16 from .*floats"),
        (tiny.images(32).numpy().astype(np.complex64), "holds complex64; floats"),
        (np.array([[object()]]), "cannot be read as one array"),
        (np.array([["a", "b"]]), "cannot be read as one array"),
        (np.ma.masked_greater(tiny.images(32).numpy(), 0.5), "masked array; .*filled"),
        (tiny.images(32).flatten(1).to_sparse(), r"sparse tensor; the data\.to_dense\(\)"),
        (tiny.images(32).to("meta"), "meta device"),
        (torch.nested.nested_tensor([torch.ones(2, 2)], layout=torch.jagged), "nested tensor; .*unbind"),
        (tiny.images(32).mul(255).numpy().astype(">i2"), "holds int16 from .*floats"),
        (DataLoader(TensorDataset(tiny.images(32))), r"found a DataLoader; .*loader\.dataset"),
        (Stream(), "found a Stream; .*a dataset with indices"),
        ({"x": 1}, "found a dict; a tensor"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_said_with_what_would_work(data: Any, words: str):
    with pytest.raises(DataError, match=words):
        fit(tiny.stack(), data, epochs=1)
    if isinstance(data, np.ndarray | Tensor):
        with pytest.raises(DataError, match=words.replace("the data", "x")):
            tiny.stack().encode(data)


SCALES = [
    (lambda x: x * 255, r"from 0\.\d+ to 2\d\d\.?\d*, outside \[0(\.0)?, 1(\.0)?\].*first: (example|row) \d+\).* / 255 would work"),
    (lambda x: x * 2 - 1, r"outside.* / 2 \+ 0\.5 would work"),
]


@pytest.mark.parametrize(("scale", "words"), SCALES)
def test_examples_that_the_decoder_cannot_reach_are_refused(scale: Any, words: str):
    x = scale(tiny.images(32))
    stack = tiny.stack()
    for data, validation in ((x, None), (x.numpy(), None), (tiny.images(32), x), (TensorDataset(x), None)):
        with pytest.raises(DataError, match=words):
            list(fit(stack, data, validation=validation, epochs=1, batch_size=16))
    for use in (stack.encode, stack.reconstruct):
        with pytest.raises(DataError, match=words):
            use(x)


def test_a_decoder_with_another_range_names_its_own():
    stack = Stack([MLP((1, 8, 8), latent=2, hidden=[4], output="tanh")], divergence=MMD(), weights=[1.0])
    with pytest.raises(DataError, match=r"the data / 127\.5 - 1 would work"):
        fit(stack, tiny.images(32) * 255, epochs=1)
    first_loss(tiny.images(32) * 2 - 1, stack)


def test_a_decoder_without_bounds_takes_any_scale_and_small_excess_is_let_through():
    linear = Stack([MLP((1, 8, 8), latent=2, hidden=[4])], divergence=MMD(), weights=[1.0])
    first_loss(tiny.images(32) * 255, linear)
    linear.encode(tiny.images(4) * 255)
    first_loss(tiny.images(32) * 1.005)
    tiny.stack().encode(tiny.images(4) * 1.3)


class Promised(DataSource):
    name = "promised"
    shape = (1, 8, 8)

    def __init__(self, found: Tensor | None = None) -> None:
        self.found = tiny.images(32) if found is None else found

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> Tensor:
        return self.found[index]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_that_breaks_its_promise_is_named(workers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("owae.data.workers.START_METHOD", "fork")
    linear = Stack([MLP((1, 8, 8), latent=2, hidden=[4])], divergence=MMD(), weights=[1.0])
    for found, words in (
        (tiny.images(32) * 255, "Promised holds values from .* its value_range,"),
        (tiny.images(32).mul(255).long(), r"Promised, example \d+, holds int64"),
        (tiny.images(32, (8, 8)), r"Promised, example \d+, has events of shape|Promised.*shape"),
    ):
        with pytest.raises(DataError, match=words):
            list(fit(linear, Promised(found), epochs=1, batch_size=16, workers=workers))
    first_loss(Promised(), workers=workers)


def test_an_example_that_is_not_finite_is_named_by_its_index():
    x = tiny.images(64)
    x[37, 0, 3, 3] = math.nan
    for data in (x, Promised(x)):
        with pytest.raises(TrainingError, match=r"1 of the 16 examples in the batch hold NaN or infinity \(first: example 37\)"):
            list(fit(tiny.stack(), data, epochs=1, batch_size=16, accumulate=2))
    steps = fit(tiny.stack(), tiny.images(64), validation=x, epochs=1)
    with pytest.raises(DataError, match=r"the held-out data holds NaN or infinity in 1 of 64 examples \(first: example 37\)"):
        steps.validate()


def test_a_stack_is_used_on_arrays_and_refuses_what_is_not_finite():
    stack, x = tiny.stack().eval(), tiny.images(4)
    for form in (x.numpy(), x.double(), x.tolist()):
        assert torch.equal(stack.encode(form)[1], stack.encode(x)[1])
        assert torch.equal(stack.reconstruct(form), stack.reconstruct(x))
        assert torch.equal(stack(form).costs[0].new_zeros(()), torch.zeros(()))
    z = stack.encode(x)[1].detach()
    assert torch.equal(stack.decode(z.numpy()), stack.decode(z))
    with pytest.raises(DataError, match=r"x holds bytes; .* x / 255"):
        stack.encode((x * 255).byte())
    for use, value in ((stack.encode, x), (stack.reconstruct, x), (stack.decode, z)):
        for wrong in (math.nan, math.inf):
            bad = value.clone()
            bad[2] = wrong
            with pytest.raises(DataError, match=r"holds NaN or infinity in 1 of 4 rows \(first: row 2\)"):
                use(bad)


def test_a_source_is_taken_as_it_is():
    source = Promised()
    assert as_source(source, (1, 8, 8)) is source


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({}, "shape None; Odd sets `shape` to positive whole numbers"),
        ({"shape": "8"}, "shape '8'; Odd sets `shape`"),
        ({"shape": ()}, r"shape \(\); Odd sets `shape`"),
        ({"shape": (8, 0)}, r"shape \(8, 0\)"),
        ({"shape": (8.0,)}, r"shape \(8\.0,\)"),
        ({"shape": (8,), "value_range": None}, "range over None; Odd sets `value_range`"),
        ({"shape": (8,), "value_range": (1.0, 0.0)}, r"range over \(1\.0, 0\.0\)"),
        ({"shape": (8,), "value_range": (0.0, float("inf"))}, "range over"),
        ({"shape": (8,), "labels": [0, 1]}, r"labels are a list; Odd sets `labels` to whole numbers, a tensor \(4,\)"),
        ({"shape": (8,), "labels": torch.zeros(3, dtype=torch.int64)}, r"labels are of shape \(3,\), torch\.int64"),
        ({"shape": (8,), "labels": torch.zeros(4)}, "torch.float32; Odd sets"),
        ({"shape": (8,), "count": -1}, r"len\(\) of a Odd fails"),
        ({"shape": (8,), "count": None}, r"len\(\) of a Odd fails"),
    ],
)
def test_a_source_that_declares_no_data_is_refused_by_name(declared: dict[str, Any], said: str):
    class Odd(DataSource):
        name, count = "odd", 4

        def __len__(self) -> Any:
            return self.count

        def __getitem__(self, index: int) -> Tensor:
            return torch.rand(8)

    for name, value in declared.items():
        setattr(Odd, name, value)
    with pytest.raises(InputError, match=said):
        fit(Stack([MLP((8,), latent=2, hidden=[4])], divergence=MMD(), weights=[1.0]), Odd(), epochs=1)
