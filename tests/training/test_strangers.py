"""Components of a stranger that do what none should: each is told by name, and nothing goes wrong in silence."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from toys import Affine, Moments

from owae import DataSource, Dirac, PluginError, Stack, fit
from owae.data.sources import check_declared
from owae.errors import InputError
from owae.run.identity import identity


class Odd(DataSource):
    """Images that are read otherwise from a number of reads on."""

    name = "odd"
    value_range = (0.0, 1.0)
    shape = (1, 8, 8)

    def __init__(self, way: str = "", after: int = 0, says: int = 32) -> None:
        self.way, self.after, self.says, self.reads, self.images = way, after, says, 0, tiny.images(32)

    def __len__(self) -> int:
        return self.says

    def __getitem__(self, index: int) -> Tensor:
        self.reads += 1
        if self.reads > self.after:
            if self.way == "exit":
                raise SystemExit(0)
            if self.way == "stop":
                raise StopIteration
            if self.way == "key":
                raise KeyError("column")
            if self.way == "gradients":
                torch.set_grad_enabled(False)
            if self.way == "other":
                return self.images[index] * 0.5
        return self.images[index]


def trained(source: DataSource, stack: Stack | None = None, epochs: int = 2) -> None:
    list(fit(tiny.stack() if stack is None else stack, source, epochs=epochs, batch_size=16))


@pytest.mark.parametrize("way", ["exit", "stop"])
def test_a_source_does_not_end_the_program_as_if_all_were_well(way: str):
    with pytest.raises(PluginError, match=r"Odd ends in S\w+\(0?\) where it reads an example"):
        trained(Odd(way, after=40))


def test_an_error_of_a_source_keeps_its_kind_and_says_whose_it_is():
    with pytest.raises(KeyError) as caught:
        trained(Odd("key", after=40))
    assert caught.value.__notes__ == ["while Odd read an example"]


def test_a_source_cannot_switch_gradients_off():
    trained(Odd("gradients"))
    assert torch.is_grad_enabled()


def test_a_source_that_changes_between_epochs_is_told_once(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        trained(Odd("other", after=50), epochs=4)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "data source Odd gives example" in told
    assert "otherwise at epoch" in told


def test_a_length_that_is_too_large_is_named_where_data_are_first_read():
    with pytest.raises(InputError, match="Odd says that it has 40 examples"):
        identity({"train": Odd(says=40)})


def test_classes_without_a_name_are_refused():
    source = Odd()
    source.labels, source.class_names = torch.arange(32) % 4, ("a", "b", "c")
    with pytest.raises(InputError, match="its labels go up to 3, and it names 3 classes"):
        check_declared("the data", source)
    source.class_names = ("a", "b", "c", "d")
    check_declared("the data", source)


class Careless(Affine):
    name = "careless"

    def __init__(self, way: str) -> None:
        super().__init__((1, 8, 8), latent=3)
        self.way = way

    def decode(self, z: Tensor) -> Any:
        if self.way == "gradients":
            torch.set_grad_enabled(False)
        p = super().decode(z)
        return Dirac(p.mean.detach()) if self.way == "detached" else p

    def encode(self, x: Tensor) -> Any:
        if self.way == "off":
            torch.set_grad_enabled(False)
        return super().encode(x)


def test_a_layer_that_switches_gradients_off_is_named():
    with pytest.raises(PluginError, match="layer 'careless' switches gradients off for all that follows"):
        trained(Odd(), Stack([Careless("off")], divergence=Moments(), weights=[1.0]))
    assert torch.is_grad_enabled()


def test_parameters_that_no_gradient_reaches_are_told_once(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        trained(Odd(), Stack([Careless("detached")], divergence=Moments(), weights=[1.0]))
    (told,) = [record.getMessage() for record in caplog.records]
    assert "no gradient reaches levels.0.layer.down.weight, levels.0.layer.down.bias" in told


def test_all_parameters_that_have_a_part_are_reached(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        trained(Odd())
        layers = [Affine((1, 8, 8), latent=3), Affine((3,), latent=2)]
        trained(Odd(), Stack(layers, divergence=Moments(), weights=[1.0], matched_level=1))
    assert not caplog.records
