"""Run folders: what is in one, what resumes, what is refused, and that nothing is lost or unpickled."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from fixtures import maker
from interruption import contents, interrupt_at

from owae import Config, Registry
from owae.errors import ConfigError, InterruptionError, TrainingError
from owae.run import checkpoint
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.train import train


def test_a_run_folder_holds_what_it_says(make, registry: Registry):
    run = make()
    info = json.loads((run.folder / "run.json").read_text())
    assert info["versions"]["torch"] == torch.__version__
    assert {"owae", "owae-mmd", "owae-layers"} <= {plugin["distribution"] for plugin in info["plugins"]}
    assert info["seed"] == 0
    saved = tomllib.loads((run.folder / "config.toml").read_text())
    assert saved["train"]["batch_size"] == 16
    assert Config.load(run.folder / "config.toml", registry) == run.config
    lines = read_metrics(run.folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert {
        "cost/0",
        "cost/1",
        "divergence",
        "spread/1",
        "variance/2",
        "gradient/2",
        "loss",
        "lr",
        "epoch",
        "divergence_floor_sd",
    } <= set(lines[0])
    assert len(contents(run.folder, "pictures/samples-*.png")) == 1
    assert len(contents(run.folder, "pictures/reconstructions-*.png")) == 1
    assert (run.step, run.epoch, run.shape) == (8, 2, (1, 8, 8))
    assert not run.model.training
    assert run.model.sample(3).shape == (3, 1, 8, 8)
    assert len(run.source("test")) > 0


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, registry: Registry):
    """A run that nothing interrupted."""
    return maker(tmp_path_factory.mktemp("straight"), registry)()


def test_one_seed_gives_one_run_to_the_byte(make, straight):
    first, second, other = straight, make("b"), make("c", "train.seed=1")
    for pattern in ("checkpoints/*", "pictures/*", "metrics.jsonl"):
        assert contents(first.folder, pattern) == contents(second.folder, pattern) != {}
        assert contents(first.folder, pattern) != contents(other.folder, pattern)


@pytest.mark.parametrize("step", [1, 4, 6])
def test_an_interrupted_run_resumes_as_if_it_had_not_been(make, straight, monkeypatch: pytest.MonkeyPatch, step: int):
    """A real signal, in mid-epoch and at its end."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(InterruptionError, match=f"step {step} is saved") as caught:
            make("stopped")
    assert caught.value.exit_code == 143
    resumed = make("stopped", resume=True)
    assert resumed.step == 8
    for pattern in ("checkpoints/step-000000008*", "metrics.jsonl", "pictures/*"):
        assert contents(straight.folder, pattern) == contents(resumed.folder, pattern) != {}


def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_once(make_plain):
    long = make_plain("long", "train.epochs=4")
    make_plain("short")
    resumed = make_plain("short", "train.epochs=4", resume=True)
    for pattern in ("checkpoints/step-000000016*", "metrics.jsonl"):
        assert contents(long.folder, pattern) == contents(resumed.folder, pattern) != {}


@pytest.mark.parametrize("schedule", ["OneCycleLR", "CosineAnnealingLR"])
@pytest.mark.slow
def test_a_schedule_over_all_of_training_stretches_with_it(make_plain, schedule: str, caplog: pytest.LogCaptureFixture):
    """The steps already taken are what they were; the rest follow the longer schedule."""
    chosen = [f"train.schedule.name={schedule}", *(["train.schedule.max_lr=0.01"] if schedule == "OneCycleLR" else [])]
    long = make_plain("long", "train.epochs=4", *chosen)
    make_plain("short", *chosen)
    resumed = make_plain("short", "train.epochs=4", *chosen, resume=True)
    assert "spans 16 steps now" in caplog.text
    rates = [[line["lr"] for line in read_metrics(run.folder / "metrics.jsonl")] for run in (long, resumed)]
    assert rates[1][8:] == pytest.approx(rates[0][8:], rel=1e-6)
    assert rates[1][:8] != rates[0][:8]


def test_resume_is_harmless_where_there_is_nothing_to_do(make_plain):
    make_plain("new", resume=True)
    before = contents(make_plain("new", resume=True).folder, "**/*")
    assert contents(make_plain("new", resume=True).folder, "**/*") == before


def test_resume_refuses_another_config_and_names_the_difference(make_plain):
    make_plain()
    with pytest.raises(TrainingError, match=r"levels\[0\]\.layer\.latent: was 8, is 7.*weights\.match: was 0\.5, is 1"):
        make_plain("run", "levels.0.layer.latent=7", "weights.match=1.0", resume=True)


def test_a_taken_folder_is_refused_or_overwritten(make_plain, tmp_path: Path):
    run = make_plain()
    with pytest.raises(TrainingError, match="--resume goes on with it, --overwrite"):
        make_plain()
    assert run.step == 8
    make_plain("run", "train.epochs=1", overwrite=True)
    assert open_run(run.folder).step == 4
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    for flags in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(TrainingError, match="holds other files"):
            make_plain("thesis", **flags)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_two_trainings_never_share_a_folder(make_plain, tmp_path: Path):
    import fcntl

    make_plain()
    with (tmp_path / "run" / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="another process is training"):
            make_plain("run", resume=True)


@pytest.mark.slow
def test_a_training_that_fails_keeps_the_last_good_checkpoint(tmp_path: Path, registry: Registry):
    """An image of NaN; the log still parses."""
    array = tiny.images(40).numpy()
    array[7] = np.nan
    path = tiny.config(tmp_path, images_=array)
    with pytest.raises(TrainingError, match=r"epoch 1, step \d: level 1, term cost/0"):
        train(Config.load(path, registry), registry, out=tmp_path / "run")
    for line in (
        (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() if (tmp_path / "run" / "metrics.jsonl").exists() else []
    ):
        json.loads(line)
    diverging = tiny.config(tmp_path)
    overrides = ["train.epochs=200", 'train.optimizer.name="SGD"', "train.optimizer.lr=0.01"]
    train(Config.load(diverging, registry, ["train.epochs=1", *overrides[1:]]), registry, out=tmp_path / "good")
    # The same run, gone on with at a rate that breaks it, as resume would refuse to do.
    saved = json.loads((tmp_path / "good" / "run.json").read_text())
    saved["config"]["train"]["optimizer"]["lr"] = 1e6
    (tmp_path / "good" / "run.json").write_text(json.dumps(saved))
    newest = checkpoint.load_newest(tmp_path / "good" / "checkpoints")
    assert newest is not None
    _, state = newest
    state["optimizer"]["param_groups"][0]["lr"] = 1e6
    checkpoint.save(tmp_path / "good" / "checkpoints", state)
    config = Config.load(diverging, registry, [*overrides[:2], "train.optimizer.lr=1e6"])
    with pytest.raises(TrainingError, match=r"epoch \d+, step \d+: level \d"):
        train(config, registry, out=tmp_path / "good", resume=True)
    assert all(torch.isfinite(p).all() for p in open_run(tmp_path / "good").model.parameters())


@pytest.mark.parametrize(("name", "words"), [("nowhere", "does not exist"), ("", "is not a run folder")])
def test_a_folder_that_is_no_run_is_named(tmp_path: Path, name: str, words: str):
    with pytest.raises(TrainingError, match=words):
        open_run(tmp_path / name)


def test_what_there_is_no_kind_of_is_refused_with_what_there_is(make_plain, registry: Registry):
    run = make_plain()
    with pytest.raises(TrainingError, match="found checkpoint 'latest'; 'newest', 'best' and 'first' would work"):
        open_run(run.folder, checkpoint="latest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TrainingError, match="resume and overwrite contradict each other"):
        train(run.config, registry, out=run.folder, resume=True, overwrite=True)
    for path in checkpoint.paths(run.folder / "checkpoints"):
        path.unlink()
    with pytest.raises(TrainingError, match=r"has no checkpoint yet; .* --resume` goes on"):
        open_run(run.folder).model  # noqa: B018 # a property that reads the file


def test_nothing_is_left_behind_by_a_config_that_cannot_be_built(tmp_path: Path, registry: Registry):
    path = tiny.config(tmp_path)
    with pytest.raises(ConfigError):
        train(Config.load(path, registry, ["levels.0.layer.output=tanh"]), registry, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_examples_that_are_no_images_train_without_pictures(tmp_path: Path, registry: Registry):
    path = tiny.config(tmp_path, images_=np.random.default_rng(0).random((40, 5), dtype=np.float32))
    run = train(Config.load(path, registry), registry, out=tmp_path / "run")
    assert run.model.sample(2).shape == (2, 5)
    assert not (run.folder / "pictures").exists()


@pytest.mark.parametrize("left", [[".writing-run.json"], ["run.json"], ["run.json", ".writing-config.toml"]])
def test_a_start_or_overwrite_that_was_cut_short_can_be_repeated(make_plain, left: list[str]):
    """Whatever a killed process left of its folder, it is still known for a run's."""
    run = make_plain()
    for path in run.folder.iterdir():
        if path.name not in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in left:
        (run.folder / name).touch()
    assert make_plain("run", overwrite="run.json" in left).step == 8
