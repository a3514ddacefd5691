"""What `image-folder` makes of every kind of picture and folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from picture_folders import SPLITS, save, whole
from PIL import Image

from owae import DataError
from owae_data import base
from owae_data.image_folder import ImageFolder

pytestmark = pytest.mark.usefixtures("store")


# --- size, crop, channels ---


def test_odd_sizes_stay(tmp_path: Path) -> None:
    pixels = [save(tmp_path / f"{i}.png", 45, 33, 3) for i in range(6)]
    read = whole(tmp_path)
    assert sorted(row.numpy().tobytes() for row in read) == sorted(one.transpose(2, 0, 1).tobytes() for one in pixels)


def test_differing_sizes_are_named(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / f"{i}.png", 8, 6, 3)
    save(tmp_path / "odd.png", 8, 7, 3)
    with pytest.raises(DataError, match=r"5 are 8x6, but not odd\.png \(8x7\); set size = \[8, 6\]"):
        ImageFolder("train", path=tmp_path)
    assert whole(tmp_path, size=(4, 5)).shape == (6, 3, 4, 5)
    assert whole(tmp_path, crop=(6, 6)).shape == (6, 3, 6, 6)
    with pytest.raises(DataError, match="smaller than the crop 8x7"):
        ImageFolder("train", path=tmp_path, crop=(8, 7))


def test_the_crop_is_the_middle_and_resizing_averages(tmp_path: Path) -> None:
    pixels = np.full((20, 30), 255, np.uint8)
    pixels[5:15, 10:20] = np.indices((10, 10)).sum(0) % 2 * 200  # a chequerboard, which without antialiasing would alias
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    assert torch.equal(whole(tmp_path, crop=(10, 10))[0, 0], torch.from_numpy(pixels[5:15, 10:20]))
    small = whole(tmp_path, crop=(10, 10), size=(2, 2))
    assert (small.int() - 100).abs().max() <= 12


def test_one_coloured_picture_makes_all_coloured(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 5, 5)
    save(tmp_path / "b.png", 5, 5)
    assert whole(tmp_path).shape == (2, 1, 5, 5)
    save(tmp_path / "c.png", 5, 5, 3)
    assert whole(tmp_path).shape == (3, 3, 5, 5)
    assert whole(tmp_path, channels=1).shape == (3, 1, 5, 5)


# --- folders ---


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "deep/er/c.png"):
        save(tmp_path / name, 4, 4, 3)
    for name in (".foo.png", "._a.png", ".DS_Store", "Thumbs.db", "notes.txt", ".trash/d.png", "__MACOSX/._a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("nothing to look at")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(whole(tmp_path)) == 3


def test_holding_out_is_spread_and_leaves_one_at_least(tmp_path: Path) -> None:
    for i in range(10):
        Image.new("L", (3, 3), i).save(tmp_path / f"{i}.png")
    held = {share: [int(x.max()) for x in ImageFolder("test", path=tmp_path, holdout=share)] for share in (0.001, 0.2, 0.999)}  # pyright: ignore[reportGeneralTypeIssues] # the old iteration protocol
    assert held == {0.001: [5], 0.2: [2, 7], 0.999: held[0.999]}
    assert len(held[0.999]) == 9


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"class {i % 3}" / "more").mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 3), i).save(tmp_path / f"class {i % 3}" / "more" / f"{i}.png")
    for split in SPLITS:
        source = ImageFolder(split, path=tmp_path, holdout=0.25)
        assert source.class_names == ("class 0", "class 1", "class 2")
        assert source.labels is not None
        assert torch.equal(source.batch(torch.arange(len(source)))[:, 0, 0, 0].long() % 3, source.labels)
        assert set(source.labels.tolist()) == {0, 1, 2}


def test_pictures_beside_the_classes_leave_none_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cats/1", "cats/2", "dogs/3", "dogs/4"):
        save(tmp_path / f"{name}.png", 4, 4)
    (tmp_path / "broken.png").write_text("no picture")  # what is left out is not beside them
    assert ImageFolder("train", path=tmp_path, skip_broken=True).class_names == ("cats", "dogs")
    save(tmp_path / "outside.png", 4, 4)
    source = ImageFolder("train", path=tmp_path, skip_broken=True)
    assert (source.labels, source.class_names) == (None, None)
    assert "outside of the folders cats, dogs, so these are not taken for classes" in caplog.text


def test_folders_train_and_test_are_the_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Class "b" is in the training set alone: numbers must still agree.
    for name in ("train/a/1", "train/b/2", "train/c/3", "test/a/4", "test/c/6", "7"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 3), int(path.stem)).save(path)
    train, test = (ImageFolder(split, path=tmp_path) for split in SPLITS)
    assert [int(x.max()) for x in train] == [1, 2, 3]  # pyright: ignore[reportGeneralTypeIssues] # the old iteration protocol
    assert [int(x.max()) for x in test] == [4, 6]  # pyright: ignore[reportGeneralTypeIssues] # the old iteration protocol
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2], [0, 2])
    assert "1 pictures outside 'train', 'test' are passed over: '7.png'" in caplog.text


def test_relative_paths_start_at_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pics/a.png", "pics/b.png"):
        save(tmp_path / name, 4, 4)
    monkeypatch.chdir(tmp_path)
    assert len(whole(Path("pics"))) == 2


def test_useless_paths_are_named(tmp_path: Path) -> None:
    for path, match in [(tmp_path, "no pictures in it"), (tmp_path / "none", "does not exist")]:
        with pytest.raises(DataError, match=match):
            ImageFolder("train", path=path)
    save(tmp_path / "a.png", 4, 4)
    with pytest.raises(DataError, match="is a file"):
        ImageFolder("train", path=tmp_path / "a.png")
    with pytest.raises(DataError, match="one must be held out"):
        ImageFolder("train", path=tmp_path)
    save(tmp_path / "train" / "a.png", 4, 4)
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="no pictures in 'test'"):
        ImageFolder("train", path=tmp_path)


# --- the decoded file ---


def test_many_pictures_are_decoded_once_and_mapped(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        save(tmp_path / ("ab"[i % 2]) / f"{i}.png", 9, 8, 3)
    small = whole(tmp_path)
    assert not list(store.rglob("*"))
    monkeypatch.setattr(base, "LARGE", 100)
    assert torch.equal(whole(tmp_path), small)
    (file,) = store.rglob("*.npy")
    assert not list(store.rglob("*.part"))

    def no_decoding(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as context:
        context.setattr("owae_data.picture_sets._decode", no_decoding)
        assert torch.equal(whole(tmp_path), small)
    file.write_bytes(file.read_bytes()[:300])  # as a full disk or a crash leaves it
    assert torch.equal(whole(tmp_path), small)
    save(tmp_path / "a" / "0.png", 9, 8, 3)
    assert not torch.equal(whole(tmp_path), small)
    assert len(list(store.rglob("*.npy"))) == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        save(tmp_path / "pics" / f"{i}.png", 9, 8, 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "file"))
    monkeypatch.setattr(base, "LARGE", 100)
    with pytest.raises(DataError, match="set OWAE_DATA to a folder"):
        ImageFolder("train", path=tmp_path / "pics")


# --- what a set is known by ---


def test_a_fingerprint_follows_the_files_and_not_the_folder(tmp_path: Path) -> None:
    for i in range(100):
        save(tmp_path / "first" / f"{i:02}.png", 4, 4)
    shutil.copytree(tmp_path / "first", tmp_path / "second")

    def known(folder: str) -> list[str]:
        return [ImageFolder(split, path=tmp_path / folder).fingerprint() for split in SPLITS]

    before = known("first")
    assert known("second") == before
    (tmp_path / "second" / "50.png").rename(tmp_path / "second" / "50b.png")
    assert known("second") != before
    (tmp_path / "second" / "50b.png").rename(tmp_path / "second" / "50.png")
    assert known("second") == before
    content = bytearray((tmp_path / "second" / "00.png").read_bytes())
    content[-1] ^= 1
    (tmp_path / "second" / "00.png").write_bytes(content)
    assert known("second") != before
