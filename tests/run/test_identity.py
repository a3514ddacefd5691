"""A run knows its data again: changed ones are refused or told, moved ones taken; and a refusal touches nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from interruption import contents

from owae import Config, Registry
from owae.data.sources import TensorSource
from owae.errors import ConfigError, DataError, OwaeError, TrainingError
from owae.run import checkpoint
from owae.run.identity import changes, identity
from owae.run.opened import open_run
from owae.run.train import train

Resume = Callable[..., Any]


@pytest.fixture(scope="module")
def registry(plain_registry: Registry) -> Registry:
    return plain_registry


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A folder with data, a config, and the run of an epoch; to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    train(Config.load(tiny.config(folder, epochs=1), registry), registry, out=folder / "run")
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, as if it had been trained there."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "run" / "run.json", tmp_path / "run" / "config.toml"):
        path.write_text(path.read_text().replace(str(trained), str(tmp_path)))
    return tmp_path


@pytest.fixture
def resume(place: Path, registry: Registry) -> Resume:
    def resumed(*overrides: str):
        config = Config.load(place / "tiny.toml", registry, ["train.epochs=2", *overrides])
        return train(config, registry, out=place / "run", resume=True)

    return resumed


def rewrite(place: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    with np.load(place / "images.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(place / "images.npz", **arrays)  # pyright: ignore[reportArgumentType]


def more(arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        arrays[name] = np.concatenate([array, array[:3]])


def one_other_pixel(arrays: dict[str, np.ndarray]) -> None:
    arrays["images"][37, 0, 3, 3] ^= 1


def swapped(arrays: dict[str, np.ndarray]) -> None:
    arrays["images"] = arrays["images"][::-1].copy()


def relabelled(arrays: dict[str, np.ndarray]) -> None:
    arrays["labels"] = (arrays["labels"] + 1) % 4


def wider(arrays: dict[str, np.ndarray]) -> None:
    arrays["images"] = np.pad(arrays["images"], [(0, 0), (0, 0), (0, 0), (0, 1)])


CHANGED = {
    more: "train: was 58, is 60; test: was 6, is 7",
    one_other_pixel: "other examples or labels in the train split",
    swapped: "other examples or labels in the train split; other examples or labels in the test split",
    relabelled: "other examples or labels",
}


@pytest.mark.parametrize("change", CHANGED, ids=lambda change: change.__name__)
def test_changed_data_are_refused_on_resume_and_told_otherwise(
    change: Callable, place: Path, resume: Resume, caplog: pytest.LogCaptureFixture
):
    rewrite(place, change)
    before = contents(place / "run", "**/*")
    with pytest.raises(DataError, match=f"not those that .* was trained on: {CHANGED[change]}"):
        resume()
    assert contents(place / "run", "**/*") == before
    run = open_run(place / "run")
    for split in ("train", "test", "train"):
        run.source(split)
    told = [record.message for record in caplog.records if "was trained on" in record.message]
    assert len(told) == 1, "once a run"
    assert told[0].partition(": ")[2] in CHANGED[change] or CHANGED[change] in told[0]


def test_data_that_have_moved_are_found_by_their_new_place(
    place: Path, resume: Resume, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (place / "other").mkdir()
    (place / "images.npz").rename(place / "other" / "moved.npz")
    with pytest.raises(DataError, match=r"does not exist.*--set data\.path=… says where they are"):
        open_run(place / "run").source("test")
    monkeypatch.chdir(place / "other")
    assert len(open_run(place / "run", overrides=["data.path=moved.npz"]).source("test")) == 6
    assert resume("data.path=other/moved.npz").step == 8
    assert len(open_run(place / "run").source("train")) == 58, "the run knows the new place"
    assert "was trained on" not in caplog.text


def test_another_place_must_hold_the_same_data(place: Path, resume: Resume):
    shutil.copy(place / "images.npz", place / "other.npz")
    rewrite(place, one_other_pixel)
    (place / "images.npz").rename(place / "changed.npz")
    with pytest.raises(DataError, match="other examples"):
        resume("data.path=changed.npz")
    with pytest.raises(DataError, match=r"other examples.*--set takes the place of the same data alone"):
        open_run(place / "run", overrides=[f"data.path={place / 'changed.npz'}"]).source("train")
    assert len(open_run(place / "run", overrides=[f"data.path={place / 'other.npz'}"]).source("train")) == 58


@pytest.mark.parametrize("override", ["train.epochs=3", "data.holdout=0.2", "levels[0].layer.latent=3", "data.layout=chw"])
def test_nothing_else_of_a_run_can_be_set(place: Path, override: str):
    with pytest.raises(
        TrainingError, match=rf"only where its data are can be set; found {override.partition('=')[0]}".replace("[", r"\[")
    ):
        open_run(place / "run", overrides=[override])
    with pytest.raises(ConfigError):
        open_run(place / "run", overrides=["data.pth=x"])


def test_a_run_of_an_earlier_version_opens_and_resumes(place: Path, resume: Resume, caplog: pytest.LogCaptureFixture):
    path = place / "run" / "run.json"
    info = json.loads(path.read_text())
    info["data"] = {key: info["data"][key] for key in ("shape", "value_range", "train", "test")}
    path.write_text(json.dumps(info))
    assert len(open_run(place / "run").source("test")) == 6
    shutil.copy(place / "images.npz", place / "copy.npz")
    with pytest.raises(TrainingError, match=r"data\.path: was"):  # whether they are the same cannot be told
        resume("data.path=copy.npz")
    assert resume().step == 8
    assert "was trained on" not in caplog.text
    rewrite(place, one_other_pixel)
    with pytest.raises(DataError, match="other examples"):
        resume("train.epochs=3")


def damage_all(folder: Path) -> None:
    for path in checkpoint.paths(folder / "checkpoints"):
        path.write_bytes(path.read_bytes()[:500])


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    info = json.loads((folder / "run.json").read_text())
    change(info)
    (folder / "run.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    "wrong", [{"shape": []}, {"shape": "x"}, {"value_range": [1]}, {"fingerprints": []}, {"units": "x"}, {"class_names": 3}]
)
def test_a_description_that_was_edited_is_refused(wrong: dict[str, Any], place: Path):
    edit(place / "run", lambda info: info["data"].update(wrong))
    with pytest.raises(TrainingError, match=f"run.json is damaged.*{next(iter(wrong))}"):
        open_run(place / "run")


def test_a_config_that_was_edited_after_training_is_told(place: Path):
    config = place / "run" / "config.toml"
    written = config.read_text()
    config.write_text(written.replace("epochs = 1", "epochs = 9"))
    open_run(place / "run")  # what may change
    config.write_text(written.replace('activation = "relu"', 'activation = "tanh"'))
    assert config.read_text() != written
    with pytest.raises(TrainingError, match=r"config.toml was changed after the training.*levels"):
        open_run(place / "run")


REFUSED: dict[str, tuple[list[str], Callable[[Path], object], str]] = {
    "another scale": (["data.rescale=false"], lambda _: None, "these differ: data"),
    "another network": (["levels.0.layer.latent=7"], lambda _: None, "these differ: levels"),
    "no checkpoint that opens": ([], damage_all, "no checkpoint can be opened"),
    "a damaged description": ([], lambda folder: (folder / "run.json").write_text("{"), "run.json is damaged"),
    "a description without end": ([], lambda folder: (folder / "run.json").write_text("[" * 10**5), "run.json is damaged"),
    "a description of another version": (
        [],
        lambda folder: edit(folder, lambda info: info.update(format=2)),
        "format 2; this owae reads format 1",
    ),
    "fingerprints that are none": (
        [],
        lambda folder: edit(folder, lambda info: info["data"].update(fingerprints=[])),
        "data.fingerprints",
    ),
    "a description of something else": ([], lambda folder: (folder / "run.json").write_text("[1]"), "run.json is damaged"),
    "an unknown optimiser": (["train.optimizer.name=Adamm"], lambda _: None, "did you mean 'Adam'"),
    "too few examples": (["train.validation=57"], lambda _: None, "each side needs at least 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_touches_nothing(name: str, place: Path, resume: Resume):
    overrides, prepare, words = REFUSED[name]
    prepare(place / "run")
    before = contents(place / "run", "**/*")
    with pytest.raises(OwaeError, match=words):
        resume(*overrides)
    assert contents(place / "run", "**/*") == before


# What data are known by


def test_data_are_known_by_all_that_can_be_told_cheaply():
    x = tiny.images(100)
    source = TensorSource(x, torch.arange(100) % 3)
    known = identity({"train": source})
    assert (known["shape"], known["dtype"], known["train"], known["class_names"]) == ([1, 8, 8], "float32", 100, None)
    assert not changes(known, identity({"train": TensorSource(x.clone(), torch.arange(100) % 3)}))
    assert changes(known, identity({"train": TensorSource((x * 255).byte(), torch.arange(100) % 3)})) == [
        "dtype: was float32, is uint8"
    ]
    assert changes(known, identity({"train": TensorSource(x + 1e-6, torch.arange(100) % 3)}))
    assert changes(known, identity({"train": TensorSource(x)}))
    named = TensorSource(x, torch.arange(100) % 3)
    named.class_names = ("a", "b", "c")
    assert not changes(known, identity({"train": named})), "a version that knows names of classes is no change of the data"
    other = TensorSource(x, torch.arange(100) % 3)
    other.class_names = ("a", "c", "b")
    assert changes(identity({"train": named}), identity({"train": other})) == [
        "class_names: was ['a', 'b', 'c'], is ['a', 'c', 'b']"
    ]


def test_a_source_that_draws_is_known_again_and_draws_as_before():
    class Noisy(TensorSource):
        def batch(self, indices):
            return super().batch(indices) + torch.rand(())

    source = Noisy(tiny.images(8))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert identity({"test": source}) == identity({"test": source})
    assert torch.equal(torch.rand(3), expected)
