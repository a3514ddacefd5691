"""Runs that hold examples out: validation, the best checkpoint, stopping early; and exact resume with all of it."""

from __future__ import annotations

import logging
import math
from typing import Any

import declared
import pytest
import tiny
import torch
from declared import edited, load, mistakes
from fixtures import maker
from interruption import contents, interrupt_at

from owae import Registry
from owae.data.sources import TensorSource, hold_out
from owae.errors import DataError, InterruptionError, TrainingError
from owae.run import checkpoint
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.saving import BestMetric

ALL_ON = (
    "train.validation=0.25",
    "train.ema=0.9",
    "train.accumulate=2",
    'train.best={ metric = "validation/cost/0", patience = 50 }',
    "train.skip_bad_steps=2",
    "train.warmup=20",
)


def test_examples_are_held_out_by_seed():
    source = TensorSource(torch.arange(40.0)[:, None], torch.arange(40))
    train, held = hold_out(source, 0.25, 3)
    rows = [side.batch(torch.arange(len(side)))[:, 0].tolist() for side in (train, held)]
    assert [len(side) for side in rows] == [30, 10]
    assert sorted(rows[0] + rows[1]) == list(range(40))
    assert held.labels is not None
    assert held.labels.tolist() == rows[1] == [float(held[i]) for i in range(10)]
    again, other = hold_out(source, 10, 3)[1], hold_out(source, 10, 4)[1]
    assert again.batch(torch.arange(10))[:, 0].tolist() == rows[1] != other.batch(torch.arange(10))[:, 0].tolist()
    for count in (0.01, 39, 40, 41):
        with pytest.raises(DataError, match="each side needs at least 2"):
            hold_out(source, count, 0)


def test_validation_is_the_objective_on_what_was_held_out(make_plain):
    run = make_plain("run", "train.validation=20", "train.validate_every=2", "train.epochs=4", "train.ema=0.5")
    lines = read_metrics(run.folder / "metrics.jsonl")
    looked = [line for line in lines if "validation/loss" in line]
    assert [line["epoch"] for line in looked] == [2, 4]
    assert all(line["step"] % 3 == 0 for line in looked)  # 44 examples, the ends of epochs
    _, held = hold_out(run.source("train"), 20, 0)
    x = held.batch(torch.arange(20)).float() / 255
    with torch.no_grad():
        torch.manual_seed(0)
        parts = [run.model(part).terms() for part in x.split(16)]
    for name in ("loss", "cost/0", "cost/1", "divergence"):
        expected = (16 * parts[0][name] + 4 * parts[1][name]) / 20
        assert looked[-1][f"validation/{name}"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture(scope="module")
def everything_on(tmp_path_factory: pytest.TempPathFactory, registry: Registry):
    """A run of three epochs that nothing interrupted."""
    return maker(tmp_path_factory.mktemp("everything-on"), registry)("run", *ALL_ON, "train.epochs=3")


@pytest.mark.parametrize(
    ("step", "workers"), [(3, 0), *(pytest.param(*each, marks=pytest.mark.slow) for each in [(1, 0), (4, 0), (3, 2)])]
)
def test_an_interrupted_run_with_everything_on_resumes_to_the_bit(
    make, everything_on, monkeypatch: pytest.MonkeyPatch, step: int, workers: int
):
    """Epochs of two steps; the best checkpoint and the watches too."""
    options = (*ALL_ON, f"train.workers={workers}")
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(InterruptionError, match=f"step {step} is saved"):
            make("stopped", *options, "train.epochs=3")
    resumed = make("stopped", *options, "train.epochs=3", resume=True)
    for pattern in ("checkpoints/step-000000006*", "checkpoints/best*", "metrics.jsonl", "pictures/*"):
        assert contents(everything_on.folder, pattern) == contents(resumed.folder, pattern) != {}


@pytest.mark.slow
def test_more_epochs_with_everything_on(make_plain):
    long = make_plain("long", *ALL_ON, "train.epochs=4")
    make_plain("short", *ALL_ON)
    resumed = make_plain("short", *ALL_ON, "train.epochs=4", resume=True)
    for pattern in ("checkpoints/step-000000008*", "metrics.jsonl"):
        assert contents(long.folder, pattern) == contents(resumed.folder, pattern) != {}
    # The best one may be from before epochs was raised, and tells of as many as there were to be then.
    best, again = (checkpoint.load(checkpoint.best_path(run.folder / "checkpoints")) for run in (long, resumed))
    assert repr(best | {"total_steps": 0}) == repr(again | {"total_steps": 0})


def test_the_best_checkpoint_outlives_newer_ones(make_plain):
    run = make_plain(
        "run",
        "train.validation=0.25",
        "train.epochs=8",
        "train.keep=1",
        'train.best="validation/divergence"',
        "train.checkpoint_every=4",
    )
    lines = [line for line in read_metrics(run.folder / "metrics.jsonl") if "validation/loss" in line]
    lowest = min(lines, key=lambda line: line["validation/divergence"])
    assert lowest is not lines[-1]
    names = sorted(path.name for path in (run.folder / "checkpoints").iterdir())
    assert names == ["best.safetensors", "step-000000024.safetensors"]
    best = open_run(run.folder, checkpoint="best")
    assert (best.step, open_run(run.folder).step) == (lowest["step"], 24)
    assert not torch.equal(best.model.sample(1), run.model.sample(1)) or best.step == 24


def test_no_best_checkpoint_is_said(make_plain):
    run = make_plain()
    with pytest.raises(TrainingError, match=r'keeps no best checkpoint; train with best = "validation/loss"'):
        open_run(run.folder, checkpoint="best").model  # noqa: B018 # a property that reads the file


@pytest.mark.slow
def test_training_stops_early_and_stays_stopped(make, caplog: pytest.LogCaptureFixture):
    """Training that lowers a cost never raises it; batch norm's statistics might."""
    norms = ("levels.0.layer.norm=none", "levels.1.layer.norm=none")
    options = (*norms, "train.validation=0.25", "train.epochs=9", "train.optimizer.lr=1e-6", 'train.optimizer.name="SGD"')
    stopping = 'train.best={ metric = "validation/cost/0", patience = 3, mode = "max" }'
    with caplog.at_level(logging.INFO, "owae"):
        run = make("run", *options, stopping)
    epoch = run.epoch
    assert epoch == 4
    assert "no better validation/cost/0 for 3 validations" in caplog.text
    assert contents(run.folder, f"pictures/samples-epoch-{epoch:05d}.png")
    with caplog.at_level(logging.INFO, "owae"):
        assert make("run", *options, stopping, resume=True).step == run.step
    assert "raise train.best.patience" in caplog.text
    assert make("run", *options, stopping.replace("3", "100"), resume=True).epoch == 9


def test_the_average_is_what_a_run_opens_with(make_plain):
    run = make_plain("run", "train.ema=0.9", "train.epochs=3")
    saved = checkpoint.load(checkpoint.paths(run.folder / "checkpoints")[0])
    weights = run.model.state_dict()["levels.0.layer.encoder.0.weight"]
    assert torch.equal(weights, saved["average"]["parameters"]["levels.0.layer.encoder.0.weight"])
    assert not torch.equal(weights, saved["model"]["levels.0.layer.encoder.0.weight"])
    with pytest.raises(TrainingError, match=r"train\.ema: was 0\.9, is 0\.99"):
        make_plain("run", "train.ema=0.99", resume=True)


@pytest.mark.slow
def test_what_leaves_the_mathematics_alone_may_change_in_a_continuation(make_plain):
    make_plain("run", "train.precision='32'")
    changed = ("train.compile=false", "train.checkpoint_activations=true", "train.skip_bad_steps=3", "train.deterministic=true")
    assert make_plain("run", "train.epochs=3", *changed, "train.memory_format=contiguous", resume=True).step == 12
    with pytest.raises(TrainingError, match=r"train\.accumulate: was 1, is 2; train\.precision: was '32', is 'bf16-mixed'"):
        make_plain("run", "train.accumulate=2", "train.precision=bf16-mixed", resume=True)


def test_a_bad_image_can_be_skipped_by_a_run(tmp_path, registry):
    from owae import Config
    from owae.run.train import train

    array = tiny.images(40).numpy()
    array[7] = math.nan
    path = tiny.config(tmp_path, images_=array)
    run = train(Config.load(path, registry, ["train.skip_bad_steps=3", "train.epochs=3"]), registry, out=tmp_path / "run")
    lines = read_metrics(run.folder / "metrics.jsonl")
    assert lines[-1]["skipped"] == 3
    assert sum(line["loss"] is None for line in lines) == 3
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


# The watch


@pytest.mark.parametrize(
    ("mode", "values", "better"),
    [
        ("min", [3.0, 2.0, 2.0, math.nan, 1.0], [True, True, False, False, True]),
        ("max", [3.0, 2.0, 4.0, math.inf], [True, False, True, False]),
    ],
)
def test_a_watch_knows_better(mode: Any, values: list[float], better: list[bool]):
    watch = BestMetric("a", mode, patience=2)
    done = []
    for value, expected in zip(values, better, strict=True):
        assert watch.update({"a": value}) == expected
        done.append(watch.done)
        again = BestMetric("a", mode, patience=2)
        again.restore(watch.state())
        assert vars(again) == vars(watch)
    assert done == ([False, False, False, True, False] if mode == "min" else [False] * 4)
    other = BestMetric("b", mode)
    other.restore(watch.state())
    assert other.best is None


# In a config

MISTAKES: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"train.accumulate": 0}, "train.accumulate", ["found 0", "greater than or equal to 1"]),
    ({"train.ema": 1.0}, "train.ema", ["found 1.0", "less than 1"]),
    ({"train.ema": "0.9"}, "train.ema", ["'0.9'", "number"]),
    ({"train.precision": 32}, "train.precision", ["found 32", "did you mean '32'?"]),
    ({"train.precision": "bf16"}, "train.precision", ["bf16-mixed"]),
    ({"train.compile": "yes"}, "train.compile", ["'yes'", "auto"]),
    ({"train.memory_format": "nhwc"}, "train.memory_format", ["channels_last"]),
    ({"train.devices": 0}, "train.devices", ["found 0"]),
    ({"train.devices": "all"}, "train.devices", ["'all'", "auto"]),
    ({"train.nodes": 1.5}, "train.nodes", ["1.5", "integer"]),
    ({"train.skip_bad_steps": -1}, "train.skip_bad_steps", ["-1"]),
    ({"train.deterministic": 1}, "train.deterministic", ["found 1", "boolean"]),
    ({"train.validation": 0}, "train.validation", ["found 0"]),
    ({"train.validation": 1}, "train.validation", ["found 1", "above 0 and below 1", "from 2 on"]),
    ({"train.validation": 2.5}, "train.validation", ["found 2.5"]),
    ({"train.validation": True}, "train.validation", ["True"]),
    ({"train.best": "validation/loss"}, "train.best", ["write validation = 0.1 in [train]"]),
    ({"train.best": {"patience": 3}}, "train.best", ["write validation = 0.1 in [train]"]),
    ({"train.validation": 0.1, "train.best": "validation/los"}, "train.best", ["did you mean 'validation/loss'"]),
    ({"train.validation": 0.1, "train.best": "validation/cost/3"}, "train.best", ["validation/cost/2"]),
    ({"train.validation": 0.1, "train.best": {"metric": "loss"}}, "train.best.metric", ["validation/loss"]),
    ({"train.validation": 0.1, "train.best": {"patience": 0}}, "train.best.patience", ["found 0"]),
    ({"train.validation": 0.1, "train.best": {"mode": "least"}}, "train.best.mode", ["min"]),
    (
        {"train.validation": 0.1, "train.best": {"patient": 3}},
        "train.best.patient",
        ["did you mean 'patience'"],
    ),
]


@pytest.mark.parametrize(("edits", "place", "words"), MISTAKES, ids=lambda value: str(value)[:50])
def test_a_mistake_is_told_at_its_place(tmp_path, edits: dict[str, Any], place: str, words: list[str]):
    found = mistakes(tmp_path, declared.registry(), edited(edits))
    assert list(found) == [place]
    for word in words:
        assert word in found[place]


def test_every_key_survives_the_effective_config(tmp_path):
    edits = {
        "train.accumulate": 2,
        "train.ema": 0.99,
        "train.validation": 100,
        "train.best": {"metric": "validation/divergence", "patience": 4, "mode": "max"},
        "train.devices": "auto",
        "train.compile": True,
    }
    config = load(tmp_path, declared.registry(), edited(edits))
    assert load(tmp_path, declared.registry(), config.to_toml()) == config
    assert config.train.validation == 100
    assert config.to_dict()["train"]["best"] == edits["train.best"]
    assert load(tmp_path, declared.registry(), edited({"train.validation": 0.25})).train.validation == 0.25
