"""What goes where beside `metrics.jsonl`, and what happens where a logger is missing or fails."""

from __future__ import annotations

import csv
import sys
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import tiny
from interruption import contents, interrupt_at
from PIL import Image

from owae import Config, Registry
from owae.cli import main
from owae.cli.check import describe
from owae.data.sources import TensorSource
from owae.errors import ConfigError, InterruptionError, TrainingError
from owae.run.metrics import read_metrics
from owae.run.observers import Training, observer_classes
from owae.run.train import train
from owae.training.options import Options
from owae_loggers.table import Csv
from owae_loggers.tensorboard import TensorBoard
from owae_loggers.wandb import Wandb


class FakeWandb(types.ModuleType):
    """Takes down what it is told, and asks nobody."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.finished = 0
        self.broken = False

    def init(self, **options: Any) -> FakeWandb:
        self.started.append(options)
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        if self.broken:
            raise ConnectionError("the server is gone")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1

    def Image(self, image: Image.Image) -> tuple[int, int]:  # noqa: N802 # wandb's name
        return image.size


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


@pytest.fixture
def tensorboard():
    """A function that reads a folder's event files: {(tag, step): how often}."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(folder: Path) -> tuple[dict[tuple[str, int], float], set[tuple[str, int]]]:
        found = accumulators.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
        found.Reload()
        scalars = [(tag, event) for tag in found.Tags()["scalars"] for event in found.Scalars(tag)]
        images = {(tag, event.step) for tag in found.Tags()["images"] for event in found.Images(tag)}
        assert len({(tag, event.step) for tag, event in scalars}) == len(scalars), "a step is there twice"
        return {(tag, event.step): event.value for tag, event in scalars}, images

    return read


def training(folder: Path, step: int = 0) -> Training:
    """A training of the tiny stack, of which loggers look at the folder and the step."""
    options = Options(optimizer={"name": "Adam"})
    return Training(folder, tiny.stack(), TensorSource(tiny.images()), options, {}, step, nullcontext)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same(folder: Path) -> None:
    """The table holds what `metrics.jsonl` holds."""
    rows, lines = table(folder), read_metrics(folder / "metrics.jsonl")
    assert [list(row) for row in rows] == [list(line) for line in lines]
    assert [[str(v) if v is not None else "" for v in line.values()] for line in lines] == [list(row.values()) for row in rows]


def test_a_table_is_always_written_and_survives_what_the_log_survives(make, monkeypatch: pytest.MonkeyPatch):
    straight = make("straight")
    assert_same(straight.folder)
    assert len(table(straight.folder)) == 8
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(InterruptionError):
            make("stopped")
    # A killed process may leave lines of steps that no checkpoint has, and half a line.
    with (straight.folder.parent / "stopped" / "metrics.csv").open("a") as file:
        file.write("9,9,9\n1,7,0.0")
    resumed = make("stopped", resume=True)
    assert contents(resumed.folder, "metrics.csv") == contents(straight.folder, "metrics.csv")


def test_a_number_that_is_not_finite_is_an_empty_cell_and_a_new_one_a_new_column(tmp_path: Path):
    logger = Csv(training(tmp_path))
    logger.values({"step": 1, "loss": None})
    logger.values({"step": 2, "loss": 0.5, "new": 3.0})
    logger.values({"step": 3, "loss": 0.25})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,new\n1,,\n2,0.5,3.0\n3,0.25,\n"


@pytest.mark.slow
def test_tensorboard_gets_values_and_pictures_and_no_step_twice(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorboard):
    chosen = 'train.loggers=["tensorboard"]'
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(InterruptionError):
            make("run", chosen)
    left = TensorBoard(training(tmp_path / "run", 3))  # steps beyond the checkpoint, as a killed process leaves them
    left.values({"step": 5, "loss": 99.0})
    left.close()
    run = make("run", chosen, resume=True)
    scalars, images = tensorboard(run.folder)
    lines = read_metrics(run.folder / "metrics.jsonl")
    assert {step for _, step in scalars} == set(range(1, 9))
    for line in lines:
        assert scalars["loss", line["step"]] == pytest.approx(line["loss"], rel=1e-6)
        assert scalars["gradient/2", line["step"]] == pytest.approx(line["gradient/2"], rel=1e-6)
    assert images == {("samples", 8), ("reconstructions", 8)}


def test_wandb_gets_values_pictures_and_one_run_over_resumes(make, monkeypatch: pytest.MonkeyPatch, wandb: FakeWandb):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(InterruptionError):
            make("run", 'train.loggers=["wandb"]')
    run = make("run", 'train.loggers=["wandb"]', resume=True)
    assert wandb.finished == 2, "closed where training was interrupted, too"
    first, second = wandb.started
    assert first["id"] == second["id"]
    assert (first["project"], first["name"], first["dir"], first["resume"]) == ("owae", "run", str(run.folder), "allow")
    assert first["config"]["train"]["batch_size"] == 16
    logged = [(step, values["loss"]) for step, values in wandb.logged if "loss" in values]
    assert logged == [(line["step"], line["loss"]) for line in read_metrics(run.folder / "metrics.jsonl")]
    assert any("samples" in values for _, values in wandb.logged)


def test_a_logger_that_fails_ends_and_training_does_not(make, wandb: FakeWandb, caplog: pytest.LogCaptureFixture):
    wandb.broken = True
    run = make("run", 'train.loggers=["wandb"]')
    assert run.step == 8
    assert [r.message for r in caplog.records if "wandb" in r.message] == [
        "logger 'wandb' failed and is left out from here on: the server is gone"
    ]
    assert_same(run.folder)


def test_a_logger_that_cannot_be_opened_is_named(make, monkeypatch: pytest.MonkeyPatch, wandb: FakeWandb):
    def refuse(**_: Any) -> None:
        raise RuntimeError("no API key")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(TrainingError, match=r"'wandb' cannot be opened: no API key; take it out of train\.loggers"):
        make("run", 'train.loggers=["wandb"]')


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_said_before_anything_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit 2 with the extra to install; no data are made, no folder is left."""
    monkeypatch.setitem(sys.modules, {"tensorboard": "torch.utils.tensorboard"}.get(name, name), None)
    monkeypatch.setattr("owae.run.train.build", lambda *_: pytest.fail("the data were made first"))
    path = tiny.config(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["train", str(path), "--out", str(tmp_path / "run"), "--set", f'train.loggers=["{name}"]'])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"pip install 'owae-loggers[{name}]'" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_broken_package_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "wandb":
                raise TypeError("descriptors cannot be created directly")

    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(TrainingError, match="TypeError: descriptors cannot be created directly"):
        Wandb.require()


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path, registry: Registry):
    config = Config.load(tiny.config(tmp_path, loggers=["tensorbord"]), registry)
    with pytest.raises(ConfigError, match=r"train\.loggers\[0\]: found 'tensorbord'; did you mean 'tensorboard'"):
        train(config, registry, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        describe(config, registry)
    with pytest.raises(ConfigError, match=r"train\.loggers\[1\]: found 'wanbd'; did you mean 'wandb'"):
        observer_classes(Config.load(tiny.config(tmp_path, loggers=["csv", "wanbd"]), registry), registry)
