"""[start]: which weights of another run are taken, what is refused, and that the run is then its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from fixtures import make, registry
from interruption import contents, interrupt_at

from owae import Stack, fit
from owae.data.sources import TensorSource
from owae.errors import ConfigError, InterruptionError, OwaeError, TrainingError
from owae.run import checkpoint
from owae.run.opened import open_run
from owae_layers.mlp import MLP
from owae_mmd.mmd import MMD
from owae_priors import GaussianMixture
from owae_refine.layers import Frozen
from owae_refine.start import Start

__all__ = ["make", "registry"]

X = tiny.images()


def stack(seed: int, hidden: int = 16, prior: bool = False) -> Stack:
    torch.manual_seed(seed)
    bottom, top = MLP((1, 8, 8), latent=8, hidden=[16], output="sigmoid"), MLP((8,), latent=2, hidden=[hidden])
    return Stack([bottom, top], divergence=MMD(), weights=[0.5, 0.5], prior=GaussianMixture((2,), components=3) if prior else None)


def started(made: Stack, **options) -> tuple[Stack, Start]:
    phase = Start(**options)
    made = phase.extend(made)
    phase.prepare(made, TensorSource(X))
    return made, phase


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with a checkpoint that keeps an average."""
    trained = stack(0, prior=True)
    steps = fit(trained, X, epochs=1, batch_size=16, ema=0.9, device="cpu")
    for _ in steps:
        pass
    checkpoint.save(tmp_path / "other" / "checkpoints", steps.state())
    return tmp_path / "other"


def same(one: Stack, other: Stack, *levels: int) -> list[bool]:
    pairs = [(one.levels[i].state_dict(), other.levels[i].state_dict()) for i in levels]
    return [all(torch.equal(a, b) for a, b in zip(mine.values(), theirs.values(), strict=True)) for mine, theirs in pairs]


def saved(folder: Path) -> Stack:
    """The averaged stack of a folder."""
    from owae.training.ema import load_model

    newest, made = checkpoint.load_newest(folder / "checkpoints"), stack(9, prior=True)
    assert newest is not None
    load_model(made, newest[1], averaged=True)
    return made


def test_all_levels_and_the_prior_are_taken_or_those_that_were_named(other):
    folder, theirs = other, saved(other)
    made, phase = started(stack(1, prior=True), from_=folder)
    assert same(made, theirs, 0, 1) == [True, True]
    assert all(torch.equal(a, b) for a, b in zip(made.prior.parameters(), theirs.prior.parameters(), strict=True))
    (path,) = (folder / "checkpoints").iterdir()
    told = {"from": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "step": 4}
    assert phase.origin() == {**told, "levels": [1, 2], "others": ["prior"]}
    made, phase = started(stack(1, prior=True), from_=path, levels=[2])
    assert same(made, theirs, 0, 1) == [False, True]
    assert phase.origin()["others"] == []
    made, _ = started(stack(1, hidden=7), from_=folder, levels=[1])
    assert same(made, theirs, 0) == [True]


def test_frozen_levels_stay_and_the_others_learn(other):
    made, _ = started(stack(1), from_=other, levels=[1], freeze=True)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    for _ in fit(made, X, epochs=1, batch_size=16, device="cpu"):
        pass
    moved = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("levels.1.") for name in moved)
    assert isinstance(made.layers[0], Frozen)
    assert torch.equal(saved(other).eval().encode(X)[0], made.encode(X)[0])


def test_what_was_frozen_there_is_found(other, tmp_path):
    made, _ = started(stack(1), from_=other, levels=[1], freeze=True)
    steps = fit(made, X, epochs=1, batch_size=16, device="cpu")
    for _ in steps:
        pass
    checkpoint.save(tmp_path / "second" / "checkpoints", steps.state())
    third, _ = started(stack(2), from_=tmp_path / "second")
    assert torch.equal(third.encode(X)[1], made.encode(X)[1])


def test_what_does_not_fit_is_refused_with_names_and_what_would(other):
    made = stack(1, hidden=7)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with pytest.raises(ConfigError) as told:
        started(made, from_=other)
    assert "levels = [1] would fit" in str(told.value)
    assert "level 2: encoder.0.weight is (7, 8) here and (16, 8) there" in str(told.value)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items()), "nothing was taken"
    deeper = Stack([*stack(1).layers, MLP((2,), latent=1, hidden=[4])], divergence=MMD(), weights=[0.5, 0.5, 0.5])
    with pytest.raises(ConfigError, match=r"levels = \[1, 2\] would fit\n.*level 3: .* is not there"):
        started(deeper, from_=other)
    with pytest.raises(ConfigError, match=r"levels are \[3\]; this stack has \[1, 2\]"):
        started(stack(1), from_=other, levels=[3])
    with pytest.raises(TrainingError, match="does not exist"):
        started(stack(1), from_=other / "nowhere")
    with pytest.raises(TrainingError, match="keeps no best checkpoint"):
        started(stack(1), from_=other, checkpoint="best")


def test_a_pickle_is_not_loaded(tmp_path):
    torch.save({"model": {}, "step": 1}, tmp_path / "model.pt")
    with pytest.raises(OwaeError, match="not a whole safetensors file"):
        started(stack(1), from_=tmp_path / "model.pt")


@pytest.mark.slow
def test_a_run_goes_on_to_the_bit_without_the_other(make, monkeypatch):
    first = make("first", "train.epochs=1")
    settings = (f"start.from='{first.folder}'", "start.levels=[1]", "start.freeze=true")
    whole = make("whole", *settings)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(InterruptionError):
            make("killed", *settings)
    told = json.loads((whole.folder / "run.json").read_text())["origins"]["start"]
    shutil.rmtree(first.folder)
    again = make("killed", *settings, resume=True)
    one, other = contents(whole.folder, "checkpoints/*"), contents(again.folder, "checkpoints/*")
    assert one[max(one)] == other[max(other)]
    assert json.loads((again.folder / "run.json").read_text())["origins"]["start"] == told
    assert open_run(again.folder).model.sample(2).isfinite().all()
    with pytest.raises(TrainingError, match="does not exist"):
        make("killed", *settings, overwrite=True)
    assert contents(again.folder, "checkpoints/*") == other, "the run that was to be replaced stays"
