"""Runs that commands open, made without training."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import typer
from torch import Tensor
from typer.testing import CliRunner

from owae.data.sources import TensorSource
from owae.distributions import Gaussian
from owae.errors import TrainingError
from owae.interfaces import Divergence, LatentLayer
from owae.model.stack import Stack


class Chatty(Divergence):
    """Prints, as some libraries do while they are imported."""

    name = "chatty"

    def forward(self, x, y):
        print("compiling…")
        return (x.mean(0) - y.mean(0)).norm()


class Linear(LatentLayer):
    name = "linear"

    def __init__(self, in_shape, latent, /):
        super().__init__()
        self.in_shape, self.latent_shape = tuple(in_shape), (latent,)
        inputs = torch.Size(in_shape).numel()
        self.up, self.down = torch.nn.Linear(inputs, latent), torch.nn.Linear(latent, inputs)

    def encode(self, x):
        mean = self.up(x.flatten(1))
        return Gaussian(mean, torch.full_like(mean, 0.1))

    def decode(self, z):
        mean = self.down(z).sigmoid().unflatten(1, self.in_shape)
        return Gaussian(mean, torch.full_like(mean, 0.1))


@dataclass
class Opened:
    """What the commands use of a run."""

    folder: Path
    model: Stack
    shape: tuple[int, ...]
    sources: dict[str, TensorSource]
    value_range: tuple[float, float] = (0.0, 1.0)
    dtype: str = "float32"
    step: int = 12
    epoch: int = 3
    phases: tuple[str, ...] = ()
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(data=SimpleNamespace(kind="tensor", options={})))
    registry: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(get=lambda interface, name: TensorSource))

    def source(self, split: str) -> TensorSource:
        return self.sources[split]

    def natural(self, events: Tensor) -> Tensor:
        return events


def opened(folder: Path, shape: tuple[int, ...], latents: tuple[int, ...], classes: int | None = 4) -> Opened:
    generator = torch.Generator().manual_seed(0)

    def source(n: int) -> TensorSource:
        labels = None if classes is None else torch.arange(n) % classes
        return TensorSource(torch.rand(n, *shape, generator=generator), labels)

    torch.manual_seed(0)
    events = [shape, *((latent,) for latent in latents)]
    layers = [Linear(lower, upper[0]) for lower, upper in itertools.pairwise(events)]
    stack = Stack(layers, divergence=Chatty(), weights=[1.0] * len(layers)).eval()
    return Opened(folder, stack, shape, {"train": source(40), "test": source(23)})


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Stands for `owae.run.opened`, with runs named image, odd and vector; any other folder is no run."""
    made = {
        "image": opened(tmp_path / "image", (1, 8, 8), (6, 3)),
        "odd": opened(tmp_path / "odd", (3, 45, 33), (4, 2), classes=None),
        "vector": opened(tmp_path / "vector", (7,), (2,)),
    }

    def open_run(path: Path, checkpoint: str = "newest", overrides: Iterable[str] = ()) -> Opened:
        if path.name not in made:
            raise TrainingError(f"{path} is not a run folder")
        return made[path.name]

    module = ModuleType("owae.run.opened")
    module.open_run = open_run  # pyright: ignore[reportAttributeAccessIssue] # a module made for the test
    monkeypatch.setitem(sys.modules, "owae.run.opened", module)
    return made


def run(module: ModuleType, *arguments: object):
    app = typer.Typer()
    app.command()(module.command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(result) -> str:
    """What stands on stderr, without the frame and the line breaks that are put into it."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", result.stderr).split())
