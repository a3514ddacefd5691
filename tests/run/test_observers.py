"""Who watches a training, what they are told, and what their failures end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

import owae
from owae import Config, Observer, Registry
from owae.errors import ConfigError, TrainingError
from owae.run.metrics import read_metrics
from owae.run.train import train


class Diary(Observer):
    """Writes down what it is told, and fails where a test says so."""

    name = "diary"
    always = True
    told: list[tuple] = []  # noqa: RUF012 # emptied by each test
    faults: dict[str, Exception] = {}  # noqa: RUF012

    def __init__(self, training, /):
        self._tell("opened", training.step)

    def values(self, values):
        self._tell("values", values["step"])

    def epoch_ended(self, epoch, *, last):
        self._tell("epoch ended", epoch, last)
        return {"dot": np.zeros((1, 1, 3), np.uint8)} if last else {}

    def picture(self, name, picture, step):
        self._tell("picture", name, step)

    def close(self):
        self._tell("closed")

    def _tell(self, what, *more):
        self.told.append((what, *more))
        if what in self.faults:
            raise self.faults[what]


class Asked(Diary):
    """The same where it is named."""

    name = "asked"
    always = False


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Trains the tiny stack for two epochs of four steps under the eyes of an observer; what the observer was told."""
    registry = Registry.discover(["owae-layers", "owae-mmd", "owae-data"])
    registry.register(
        SimpleNamespace(owae_components=owae.hookimpl(lambda: [Diary, Asked], specname="owae_components")), name="own"
    )

    def trained(loggers: tuple[str, ...] = (), **faults: Exception) -> list[tuple]:
        monkeypatch.setattr(Diary, "told", [])
        monkeypatch.setattr(Diary, "faults", {name.replace("_", " "): fault for name, fault in faults.items()})
        config = Config.load(tiny.config(tmp_path, loggers=list(loggers)), registry)
        train(config, registry, out=tmp_path / "run", overwrite=(tmp_path / "run").exists())
        return Diary.told

    return trained


def test_an_observer_is_told_every_step_epoch_and_picture(watched):
    first, second = ([("values", step) for step in steps] for steps in (range(1, 5), range(5, 9)))
    ends = ("epoch ended", 1, False), ("epoch ended", 2, True)
    assert watched() == [("opened", 0), *first, ends[0], *second, ends[1], ("picture", "dot", 8), ("closed",)]


def test_one_that_does_not_watch_always_is_to_be_named(watched):
    assert watched().count(("opened", 0)) == 1
    assert watched(("asked",)).count(("opened", 0)) == 2
    assert watched(("asked", "asked", "diary")).count(("picture", "dot", 8)) == 4, "each is handed what each draws"


@pytest.mark.parametrize("when", ["opened", "values", "epoch_ended", "picture", "closed"])
def test_a_failure_is_said_once_and_ends_the_observer_alone(watched, when, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    told = watched(**{when: ValueError("broken")})
    assert [record.message for record in caplog.records if "broken" in record.message] == [
        "logger 'diary' failed and is left out from here on: broken"
    ]
    assert told[-1][0] == when.replace("_", " ")
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 8


@pytest.mark.parametrize("when", ["opened", "values", "epoch_ended", "picture"])
def test_what_a_user_can_mend_ends_training(watched, when):
    with pytest.raises(TrainingError, match="the disk is full"):
        watched(**{when: TrainingError("the disk is full")})
    assert Diary.told[-1][0] == ("opened" if when == "opened" else "closed")


def test_a_named_one_that_cannot_be_opened_ends_training_before_it_begins(watched):
    with pytest.raises(TrainingError, match=r"'asked' cannot be opened: no key; take it out of train\.loggers"):
        watched(("asked",), opened=ValueError("no key"))


def test_a_logger_that_is_not_installed_is_named_with_its_plugin(watched, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"train\.loggers\[0\]: found 'wandb'; .*`pip install owae-loggers` brings 'wandb'"):
        watched(("wandb",))
    assert not (tmp_path / "run").exists()
