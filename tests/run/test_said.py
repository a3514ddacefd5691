"""What training tells of itself while it runs, and in which order an epoch is drawn and saved."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from owae.errors import TrainingError
from owae.run import checkpoint


def test_training_says_how_many_examples_there_are(make_short, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "owae"):
        make_short("run", "train.epochs=1", "train.validation=8")
    assert "data 'arrays': 50 examples to train on, 8 to validate on, 6 to test on, 1×8×8 in [0, 1]" in caplog.text


@pytest.mark.slow
def test_a_schedule_that_stretches_says_what_becomes_of_the_rate(make_short, caplog: pytest.LogCaptureFixture):
    chosen = ("train.schedule.name=OneCycleLR", "train.schedule.max_lr=0.01")
    make_short("run", *chosen)
    make_short("run", "train.epochs=4", *chosen, resume=True)
    assert "the schedule spans 8 steps now, instead of 4: the learning rate goes on at 0.00" in caplog.text
    assert " instead of 4e-08" in caplog.text


def test_pictures_come_before_the_checkpoint_and_cost_none(make_short, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Killed while it draws, a run comes there again; where drawing fails, the epoch is saved all the same."""
    folder, there = tmp_path / "run" / "checkpoints", []

    def full(*_, **__):
        there.extend(checkpoint.paths(folder))
        raise TrainingError("no room for pictures")

    monkeypatch.setattr("owae.run.observers.Observers.epoch_ended", full)
    with pytest.raises(TrainingError, match="no room"):
        make_short()
    assert not there
    assert [path.name for path in checkpoint.paths(folder)] == ["step-000000002.safetensors"]
