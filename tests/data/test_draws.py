"""A source may draw: an example then depends on the seed, the epoch and its index alone, whoever reads it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from owae.data.loader import Loader
from owae.data.sources import Subset, examples, hold_out
from owae.data.workers import Workers
from owae.errors import DataError
from owae.interfaces import DataSource
from owae.torch_state import own_randomness
from owae.training import fit


class Drawing(DataSource):
    """Examples with noise from one of the global generators; read one by one."""

    name = "drawing"

    def __init__(self, generator: str = "numpy", count: int = 37) -> None:
        self.shape, self.generator, self.count = (1, 8, 8), generator, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        noise = {"numpy": np.random.rand, "random": random.random, "torch": lambda: torch.rand(()).item()}[self.generator]()
        return torch.full(self.shape, 0.01 * index + 0.5 * noise)


class DrawingMany(Drawing):
    def batch(self, indices: Tensor) -> Tensor:
        return torch.stack([self[int(index)] for index in indices])


class DrawingByItself(Drawing):
    def __init__(self) -> None:
        super().__init__()
        self.own = np.random.default_rng(0)

    def __getitem__(self, index: int) -> Tensor:
        return torch.full(self.shape, self.own.random())


def test_a_generator_that_the_seed_does_not_reach_is_told(caplog: pytest.LogCaptureFixture):
    for source in (DrawingByItself(), Drawing("random"), DrawingMany("numpy")):
        batches(source)
        assert ("draws from a generator of its own" in caplog.text) == isinstance(source, DrawingByItself)
        caplog.clear()


def states() -> tuple[object, bytes, bytes]:
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # pyright: ignore[reportArgumentType, reportCallIssue, reportAttributeAccessIssue]


def batches(source: DataSource, workers: int = 0, seed: int = 3, epoch: int = 1, start: int = 0) -> list[Tensor]:
    loader = Loader(source, 8, seed, workers=workers)
    if loader.workers is not None:
        loader.workers.start_method = "fork"
    try:
        return list(loader.epoch(epoch, start))
    finally:
        loader.close()


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("generator", ["numpy", "random", "torch"])
@pytest.mark.parametrize("kind", [Drawing, DrawingMany])
def test_draws_depend_on_seed_and_epoch_alone(kind: type[Drawing], generator: str):
    source = kind(generator)
    expected = batches(source)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = states()
    assert equal(batches(source), expected)
    assert equal(batches(source, start=2), expected[2:]), "as on resuming in mid-epoch"
    # Not Python's: the tests' type checker draws from that one.
    assert states()[1:] == before[1:], "the user's generators are put back"
    assert not equal(batches(source, seed=4), expected)
    assert torch.equal(examples(source), examples(source)), "evaluation sees the same each time"
    later = {float(x[0, 0, 0, 0]) for x in torch.cat(batches(source, epoch=2)).split(1)}
    assert not later & {float(x[0, 0, 0, 0]) for x in torch.cat(expected).split(1)}, "another epoch draws other numbers"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [Drawing, DrawingMany])
def test_draws_do_not_depend_on_the_workers(kind: type[Drawing], workers: int):
    assert equal(batches(kind(), workers), batches(kind()))


def test_an_example_does_not_depend_on_which_are_read_with_it():
    source = Drawing()
    whole, part = examples(source), Subset(source, torch.tensor([5, 9, 30]))
    assert torch.equal(examples(part), whole[[5, 9, 30]])
    assert torch.equal(examples(part, torch.tensor([1])), whole[[9]])
    ranks = [Loader(source, 8, rank=rank, ranks=2) for rank in (0, 1)]
    alone = next(Loader(source, 8).epoch(1))
    assert torch.equal(torch.cat([next(loader.epoch(1)) for loader in ranks]), alone)


def test_two_trainings_on_a_source_that_draws_are_one():
    losses = []
    for seed in (1, 2):
        np.random.seed(seed)
        train, held = hold_out(Drawing(), 8, 0)
        stack = tiny.stack()
        torch.manual_seed(0)
        steps = fit(stack, train, validation=held, epochs=2, batch_size=8)
        losses.append([step.objective.loss.item() for step in steps] + [steps.validate()["validation/loss"]])
    assert losses[0] == losses[1]


def test_own_randomness_covers_every_global_generator():
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    before = states()
    with own_randomness(5):
        first = draw()
    assert states() == before
    draw()
    with own_randomness(5):
        assert draw() == first


class OfMain(Drawing):
    __module__ = "__main__"


def test_a_class_that_workers_cannot_import_is_said_before_any_starts(monkeypatch: pytest.MonkeyPatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "OfMain", OfMain, raising=False)
    monkeypatch.delattr(main, "__file__", raising=False)
    with pytest.raises(DataError, match=r"OfMain cannot be sent to workers: a class under `__main__`.*module.*train\.workers = 0"):
        next(Workers(OfMain(), 1).read([torch.arange(2)], 0))


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it(tmp_path: Path):
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(
        "import torch, owae\n"
        "from owae.data.loader import Loader\n"
        "class Mine(owae.DataSource):\n"
        "    name, shape = 'mine', (2,)\n"
        "    def __len__(self): return 8\n"
        "    def __getitem__(self, index): return torch.zeros(2)\n"
        "loader = Loader(Mine(), 4, workers=1)\n"
        "try:\n"
        "    next(loader.epoch(1))\n"
        "except owae.DataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=900, check=False)
    assert "a worker that reads examples died" in done.stdout, done.stderr
    assert "__main__" in done.stdout
    assert "memory" not in done.stdout
