"""What `image-folder` makes of damaged pictures, dangling links and folders that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from picture_folders import SPLITS, save, whole

from owae import DataError
from owae_data import base
from owae_data.image_folder import ImageFolder

pytestmark = pytest.mark.usefixtures("store")


def _damage(folder: Path, good: int = 20) -> list[str]:
    names = []
    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp"):
        for i in range(good):
            save(folder / f"good{i}.{suffix}", 40, 30, 3)
        whole = (folder / f"good0.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
        (folder / f"page.{suffix}").write_text("<!DOCTYPE html>")
        (folder / f"empty.{suffix}").touch()
        names += [f"cut.{suffix}", f"page.{suffix}", f"empty.{suffix}"]
    return names


@pytest.mark.parametrize("large", [False, True])
def test_broken_files_are_named_or_left_out(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if large:
        monkeypatch.setattr(base, "LARGE", 100)
    broken = _damage(tmp_path, 2)
    for split in SPLITS:
        with pytest.raises(DataError, match="skip_broken = true") as caught:
            ImageFolder(split, path=tmp_path)
        text = str(caught.value)
        assert "18 of 30" in text
        assert sum(name in text for name in broken) == 10
        assert "and 8 more" in text
    assert len(whole(tmp_path, skip_broken=True)) == 12
    assert "left out" in caplog.text
    kept = ImageFolder("train", path=tmp_path, skip_broken=True)
    with pytest.raises(DataError, match="18 of 30"):
        ImageFolder("test", path=tmp_path)
    assert len(kept) == 11
    for name in tmp_path.iterdir():
        if "good" in name.name:
            name.unlink()
    with pytest.raises(DataError, match="18 of 18"):
        ImageFolder("train", path=tmp_path, skip_broken=True)


def _links(folder: Path) -> None:
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "more").symlink_to(folder / "elsewhere", target_is_directory=True)  # a folder on a disk that is not there
    os.mkfifo(folder / "pipe.png")  # whoever opened it would wait for ever


@pytest.mark.parametrize("large", [False, True])
def test_links_that_lead_nowhere_and_pipes_are_broken_pictures(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if large:
        monkeypatch.setattr(base, "LARGE", 10)
    for i in range(3):
        save(tmp_path / f"{i}.png", 4, 4)
    _links(tmp_path)
    with pytest.raises(DataError, match=r"4 of 7 pictures cannot be used(?s:.*)gone\.png: a link that leads nowhere") as caught:
        ImageFolder("train", path=tmp_path)
    assert all(name in str(caught.value) for name in ("loop.png", "more: a link", "pipe.png: no regular file"))
    assert len(whole(tmp_path, skip_broken=True)) == 3
    assert "4 of 7 pictures cannot be used and are left out" in caplog.text
    ImageFolder("train", path=tmp_path, skip_broken=True).fingerprint()


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.png", "b/2.png"):
        save(tmp_path / name, 4, 4)
    scandir = os.scandir

    def forbidden(path: str) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match=r"/b cannot be listed \(Permission denied\)"):
        ImageFolder("train", path=tmp_path)


def test_names_of_bytes_that_are_no_text_are_read(tmp_path: Path) -> None:
    for name in (b"caf\xe9.png", b"2.png"):
        save(tmp_path / os.fsdecode(name), 4, 4)
    assert len(ImageFolder("train", path=tmp_path).fingerprint()) == 64
