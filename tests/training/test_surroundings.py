"""Training and using a stack do not depend on what the program around them has switched on, or does in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from torch.utils.data import Dataset

from owae import ConfigError, DataError, Stack, TrainingError, fit


class Pictures(Dataset):
    def __init__(self, count: int = 32, says: int | None = None) -> None:
        self.count, self.says, self.images = count, says, tiny.images(count)

    def __len__(self) -> int:
        return self.says or self.count

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def trained(stack: Stack, data: Any, **options: Any) -> Tensor:
    torch.manual_seed(0)
    for _ in fit(stack, data, epochs=1, batch_size=16, **options):
        pass
    return torch.cat([parameter.detach().flatten() for parameter in stack.parameters()])


@contextmanager
def default(set_: Callable[[Any], None], value: Any, before: Any) -> Iterator[None]:
    set_(value)
    try:
        yield
    finally:
        set_(before)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "another default device": lambda: default(torch.set_default_device, "meta", None),
    "another type": lambda: default(torch.set_default_dtype, torch.float64, torch.float32),
}


@pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
@pytest.mark.parametrize("data", [tiny.images(32), Pictures()], ids=["tensor", "dataset"])
def test_training_is_the_same_whatever_is_switched_on_around_it(around: Callable[[], Any], data: Any):
    expected = trained(tiny.stack(), data)
    stack = tiny.stack()
    with around():
        steps = fit(stack, data, epochs=1, batch_size=16, validation=data)
        torch.manual_seed(0)
        list(steps)
        validation = steps.validate()
    found = torch.cat([parameter.detach().flatten() for parameter in stack.parameters()])
    assert torch.equal(found, expected)
    assert validation == pytest.approx(steps.validate())


@pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_what_is_switched_on_around_training_stays_on_between_its_steps(around: Callable[[], Any]):
    def modes() -> tuple[Any, ...]:
        device = torch.get_default_device()
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), device

    steps = fit(tiny.stack(), tiny.images(32), epochs=1, batch_size=16)
    with around():
        before = modes()
        for _ in steps:
            assert modes() == before


def test_two_trainings_in_threads_do_not_take_each_others_seeds_for_a_components():
    failures: list[BaseException] = []

    def train(stack: Stack) -> None:
        try:
            list(fit(stack, Pictures(), epochs=8, batch_size=16))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=train, args=(tiny.stack(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def made_in_inference_mode() -> Stack:
    with torch.inference_mode():
        return tiny.stack()


def with_mixed_types() -> Stack:
    stack = tiny.stack()
    stack.layers[0].double()
    return stack


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (made_in_inference_mode, "made in torch.inference_mode.*outside would work"),
        (lambda: tiny.stack().to("meta"), "meta device"),
        (lambda: tiny.stack().half(), r"parameters are float16; .*stack\.float\(\)"),
        (lambda: tiny.stack().bfloat16(), "bf16-mixed"),
        (with_mixed_types, "float32 and float64"),
    ],
)
def test_a_stack_that_no_step_can_change_rightly_is_refused(make: Callable[[], Stack], words: str):
    with pytest.raises(TrainingError, match=words):
        fit(make(), tiny.images(32), epochs=1)


def test_a_stack_in_half_precision_can_be_used():
    stack, x = tiny.stack(), tiny.images(8)
    expected = stack.encode(x)[-1], stack.reconstruct(x)
    half = stack.bfloat16()
    for found, right in zip((half.encode(x)[-1], half.reconstruct(x)), expected, strict=True):
        torch.testing.assert_close(found.float(), right, rtol=0.1, atol=0.05)
    assert half.sample(3).isfinite().all()


def test_a_tensor_of_inference_mode_is_encoded_outside_it():
    with torch.inference_mode():
        x = tiny.images(8)
    assert tiny.stack().encode(x)[-1].requires_grad


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"optimizer": lambda parameters: None}, "optimizer: the function returns a NoneType"),
        ({"schedule": lambda o: 0.1}, "schedule: .*float"),
    ],
)
def test_a_function_that_makes_something_else_is_named(option: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=words):
        fit(tiny.stack(), tiny.images(32), epochs=1, **option)


def test_whole_numbers_of_numpy_are_whole_numbers():
    stack, x = tiny.stack(), tiny.images(32)
    assert len(fit(stack, x, epochs=np.int64(2), batch_size=np.int32(16))) == 4
    assert torch.equal(stack.reconstruct(x, np.int64(1)), stack.reconstruct(x, 1))  # pyright: ignore[reportArgumentType]
    for n in ("3", None, 2.5):
        with pytest.raises(ConfigError, match=r"n is .*whole number"):
            stack.sample(n)  # pyright: ignore[reportArgumentType]


def test_held_out_examples_pass_the_same_gate():
    def validation(data: Any) -> dict[str, float]:
        return fit(tiny.stack(), tiny.images(32), epochs=1, batch_size=16, validation=data).validate()

    class Bright(Pictures):
        def __getitem__(self, index: int) -> Tensor:
            return super().__getitem__(index) * 255

    with pytest.raises(DataError, match=r"the held-out data holds values from .*, outside \[0.0, 1.0\].* / 255 would work"):
        validation(Bright())
    with pytest.raises(DataError, match=r"found 1 held-out example; .*at least 2"):
        validation(tiny.images(1))


def test_a_length_that_is_too_large_is_named():
    with pytest.raises(DataError, match="DatasetSource says that it has 40 examples, and cannot give"):
        list(fit(tiny.stack(), Pictures(32, says=40), epochs=1, batch_size=16))


def test_a_length_that_changes_is_named():
    data = Pictures()
    steps = iter(fit(tiny.stack(), data, epochs=2, batch_size=16))
    for _ in range(2):
        next(steps)
    data.says = 16
    with pytest.raises(DataError, match="had 32 examples when training began and has 16 at epoch 2"):
        next(steps)


def test_bytes_and_floats_are_not_put_together():
    class Mixed(Pictures):
        def __getitem__(self, index: int) -> Tensor:
            x = super().__getitem__(index)
            return x if index % 2 else (x * 255).byte()

    x = tiny.images(32)
    for data in (Mixed(), [*x[:16], *(x[16:] * 255).byte()], [*x[:16].numpy(), *(x[16:] * 255).byte().numpy()]):
        with pytest.raises(DataError, match=r"part \d+ holds bytes \(uint8\), which mean 0…255, part \d+ does not"):
            list(fit(tiny.stack(), data, epochs=1, batch_size=16))
