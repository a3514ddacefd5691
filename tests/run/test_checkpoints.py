"""Checkpoints: whole or not at all, told from damaged ones, never unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from owae.errors import TrainingError
from owae.run import checkpoint
from owae.run.opened import open_run
from owae.run.serialise import flatten, unflatten


class Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["step-000000099.safetensors", "step-000000008.safetensors"])
def test_a_pickle_is_never_loaded(make_plain, tmp_path: Path, name: str):
    """Neither by torch's own format nor as a bare pickle."""
    run = make_plain()
    flag = tmp_path / "exploited"
    torch.save({"model": Exploit(flag)}, tmp_path / "torch.pt")
    for content in (pickle.dumps(Exploit(flag)), (tmp_path / "torch.pt").read_bytes()):
        for path in checkpoint.paths(run.folder / "checkpoints"):
            path.unlink()
        (run.folder / "checkpoints" / name).write_bytes(content)
        with pytest.raises(TrainingError, match="is not a whole safetensors file"):
            open_run(run.folder).model  # noqa: B018 # a property that reads the file
        with pytest.raises(TrainingError, match="no checkpoint can be opened"):
            make_plain("run", resume=True)
    assert not flag.exists()


def test_cut_altered_and_foreign_checkpoints_are_told_apart(make_plain):
    run = make_plain()
    newest = checkpoint.paths(run.folder / "checkpoints")[0]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-100])
    with pytest.raises(TrainingError, match="not a whole"):
        checkpoint.load(newest)
    altered = bytearray(whole)
    altered[-1] ^= 1
    newest.write_bytes(bytes(altered))
    with pytest.raises(TrainingError, match="was altered"):
        checkpoint.load(newest)
    newest.write_bytes(whole)
    tensors = load_file(newest)
    save_file(tensors, newest)
    with pytest.raises(TrainingError, match="not a checkpoint of owae"):
        checkpoint.load(newest)
    newest.unlink()
    with pytest.raises(TrainingError, match="does not exist"):
        checkpoint.load(newest)


def test_a_checkpoint_of_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    path = checkpoint.save(tmp_path, {"step": 1, "model": {"w": torch.zeros(1)}})
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="has checkpoint format 2; this owae reads format 1"):
        checkpoint.load(path)


def test_a_missing_tensor_is_named(make_plain):
    from safetensors import safe_open

    run = make_plain()
    newest = checkpoint.paths(run.folder / "checkpoints")[0]
    with safe_open(newest, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(newest)
    del tensors["model/levels.1.layer.encoder.0.weight"]
    save_file(tensors, newest, metadata)
    with pytest.raises(TrainingError, match=r"lacks the tensor 'model/levels\.1\.layer\.encoder\.0\.weight'"):
        checkpoint.load(newest)


def test_an_older_checkpoint_serves_where_the_newest_is_damaged(make_plain, caplog: pytest.LogCaptureFixture):
    run = make_plain()
    newest, older = checkpoint.paths(run.folder / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:1000])
    assert open_run(run.folder).step == 4
    assert "trying an older checkpoint" in caplog.text
    assert older.exists()


def test_only_the_newest_checkpoints_are_kept(make_plain):
    run = make_plain("run", "train.epochs=5", "train.keep=3")
    assert [path.name for path in checkpoint.paths(run.folder / "checkpoints")] == [
        f"step-{n:09d}.safetensors" for n in (20, 16, 12)
    ]


def test_a_failed_write_is_loud_and_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(tensors, path, metadata):
        Path(path).write_bytes(b"part of a file")
        raise OSError(28, "No space left on device")

    state = {"model": {"a": torch.ones(2)}, "step": 1}
    first = checkpoint.save(tmp_path, state)
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*newest checkpoint is .*step-000000001"):
        checkpoint.save(tmp_path, state | {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert checkpoint.load(first)["step"] == 1


def test_values_that_are_not_finite_are_not_saved(tmp_path: Path):
    with pytest.raises(TrainingError, match="a holds values that are not finite"):
        checkpoint.save(tmp_path, {"model": {"a": torch.tensor([1.0, float("nan")])}, "step": 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"a": {"b": {3: [1, (2.5, None), "x"], "c": True}}},
        {"t": torch.arange(3), "s": torch.tensor(2.0), "e": torch.zeros(0, 2), "h": torch.ones(2, dtype=torch.bfloat16)},
        {"tied": [torch.ones(3)] * 2},
    ],
)
def test_a_tree_comes_back_as_it_was(tree: dict, tmp_path: Path):
    tensors, text = flatten(tree)
    save_file(tensors, tmp_path / "tree")
    back = unflatten(load_file(tmp_path / "tree"), text)
    assert repr(back) == repr(tree)


def test_a_tree_refuses_what_only_a_pickle_could_hold():
    with pytest.raises(TypeError, match="a/f is a function"):
        flatten({"a": {"f": flatten}})
