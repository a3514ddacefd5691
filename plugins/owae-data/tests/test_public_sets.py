"""`mnist`, `svhn` and `celeba` on small files in their true formats."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

from owae import DataError
from owae_data import base, celeba, mnist, svhn
from owae_data.celeba import CelebA
from owae_data.mnist import Mnist
from owae_data.public_files import LocalFile, OfficialFile, PublicFiles
from owae_data.samples import write_celeba, write_mnist, write_svhn
from owae_data.svhn import Svhn

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")
SOURCES: dict[str, Any] = {"mnist": Mnist, "svhn": Svhn, "celeba": CelebA}
WRITERS: dict[str, Any] = {"mnist": write_mnist, "svhn": write_svhn, "celeba": write_celeba}


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "default"))


def _all(source: Any) -> torch.Tensor:
    return source.batch(torch.arange(len(source)))


# --- MNIST ---


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_from_idx_files(tmp_path: Path, folder: str, packed: bool) -> None:
    made = write_mnist(tmp_path / folder, packed=packed)
    for split in ("train", "test"):
        source = Mnist(split, root=tmp_path, verify=False)
        images, labels = made[split]
        assert source.shape == (1, 28, 28)
        assert source.labels is not None
        assert np.array_equal(_all(source)[:, 0].numpy(), images)
        assert np.array_equal(source.labels.numpy(), labels)


def test_mnist_by_the_names_with_a_dot(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", packed=False)
    for path in (tmp_path / "mnist").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(Mnist("test", root=tmp_path)) == 10


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for data, said in [(whole[:2000], "cannot be read"), (b"<html>", "a web page"), (whole[:-8] + b"12345678", "cannot be read")]:
        path.write_bytes(data)
        with pytest.raises(DataError, match=said) as caught:
            Mnist("test", root=tmp_path, verify=False)
        assert str(path) in str(caught.value)
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(labels.read_bytes())
    with pytest.raises(DataError, match="IDX file of whole numbers with 3 axes"):
        Mnist("test", root=tmp_path, verify=False)
    path.write_bytes(whole)
    labels.write_bytes((tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="30 labels for the 10 images"):
        Mnist("test", root=tmp_path, verify=False)


# --- CelebA ---


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("folder", ["celeba", "."])
def test_celeba_is_cropped_resized_and_split_officially(tmp_path: Path, archive: bool, folder: str) -> None:
    write_celeba(tmp_path / folder, archive=archive)
    train, test = (CelebA(split, root=tmp_path, verify=False, attribute="Smiling") for split in SPLITS)
    assert (len(train), len(test)) == (16, 6)
    assert train.shape == (3, 64, 64)
    assert train.value_range == (-1, 1)
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [0, 1] * 8
    assert test.labels.tolist() == [0, 1] * 3
    assert test.class_names == ("not Smiling", "Smiling")
    for source in (train, test):
        spread = _all(source)[:, :, 2:-2, 2:-2].float().flatten(2).std(2)
        assert spread.max() < 2  # the middle alone: its colour, without the black around


def test_a_folder_of_100_pictures_and_nothing_else_will_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_celeba(tmp_path, train=100, valid=0, test=0, archive=False, lists=False)
    for place in (tmp_path / "img_align_celeba", tmp_path):  # the pictures' folder itself, or the one it is in
        train, test = (CelebA(split, root=place) for split in SPLITS)
        assert (len(train), len(test)) == (90, 10)
        assert train.labels is None
    assert "held out" in caplog.text
    # The first hundred of the official partition are all for training.
    names = [f"{number:06}.jpg" for number in range(1, 101)]
    (tmp_path / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in names))
    assert len(CelebA("train", root=tmp_path, holdout=0.2)) == 80
    assert "leaves a split of these 100 pictures empty" in caplog.text


def test_celeba_in_the_tables_that_go_about(tmp_path: Path) -> None:
    names = write_celeba(tmp_path, archive=False, lists=False)
    (tmp_path / "img_align_celeba").rename(tmp_path / "inner")
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "inner").rename(tmp_path / "img_align_celeba" / "img_align_celeba")
    (tmp_path / "list_eval_partition.csv").write_text(
        "image_id,partition\n" + "".join(f"{n},{i % 3}\n" for i, n in enumerate(names))
    )
    (tmp_path / "list_attr_celeba.csv").write_text(
        "image_id,Bald,Young\n" + "".join(f"{n},-1,{i % 2 * 2 - 1}\n" for i, n in enumerate(names))
    )
    test = CelebA("test", root=tmp_path, attribute="Young")
    assert test.labels is not None
    assert test.labels.tolist() == [i % 2 for i in range(2, len(names), 3)]


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "\ufeff<!doctype html>", "\r\n <HTML>", "<!-- saved -->\n<html>"])
def test_a_web_page_named_as_the_archive_is_told(tmp_path: Path, start: str) -> None:
    path = tmp_path / "celeba" / "img_align_celeba.zip"
    path.parent.mkdir()
    path.write_text(f"{start}<title>Google Drive - Quota exceeded</title>", encoding="utf-8")
    for verify in (True, False):
        with pytest.raises(DataError, match="it is a web page") as caught:
            CelebA("train", root=tmp_path, verify=verify)
        assert str(path) in str(caught.value)
        assert "mmlab.ie.cuhk.edu.hk" in str(caught.value)


def test_an_archive_alone_is_held_out_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_celeba(tmp_path, lists=False)
    assert len(CelebA("test", root=tmp_path, verify=False)) == 3
    CelebA("train", root=tmp_path, verify=False)
    assert f"for the official splits put list_eval_partition.txt into {tmp_path / 'celeba'}" in caplog.text


def test_a_download_brings_the_partition_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_celeba(tmp_path / "server")
    asked = []

    def download(files: PublicFiles, official: OfficialFile, _: str) -> LocalFile:
        asked.append(official.name)
        files.home.mkdir(exist_ok=True, parents=True)
        return LocalFile((tmp_path / "server" / official.name).rename(files.home / official.name), official)

    monkeypatch.setattr(PublicFiles, "_download", download)
    assert [len(CelebA(split, root=tmp_path / "here", verify=False)) for split in SPLITS] == [16, 6]
    assert asked == ["img_align_celeba.zip", "list_eval_partition.txt"]


def test_attributes_are_looked_up_by_name(tmp_path: Path) -> None:
    names = write_celeba(tmp_path, archive=False)
    with pytest.raises(DataError, match="did you mean 'Smiling'"):
        CelebA("train", root=tmp_path, attribute="smilng")
    attributes = tmp_path / "list_attr_celeba.txt"
    attributes.write_text("".join(line for line in attributes.read_text().splitlines(keepends=True) if names[0] not in line))
    with pytest.raises(DataError, match="such as 000001"):
        CelebA("train", root=tmp_path, attribute="Young")
    attributes.write_text("<html>")
    with pytest.raises(DataError, match="a web page"):
        CelebA("train", root=tmp_path, attribute="Young")
    attributes.unlink()
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt cannot be downloaded"):
        CelebA("train", root=tmp_path, attribute="Young")


def test_small_or_broken_faces_are_named(tmp_path: Path) -> None:
    write_celeba(tmp_path, archive=False)
    Image.new("RGB", (64, 64)).save(tmp_path / "img_align_celeba" / "000003.jpg")
    (tmp_path / "img_align_celeba" / "000004.jpg").write_text("<html>")
    with pytest.raises(DataError, match=r"000003\.jpg: 64x64 is smaller(?s:.*)000004\.jpg"):
        CelebA("train", root=tmp_path)
    assert len(CelebA("train", root=tmp_path, skip_broken=True)) == 14


# --- all three ---


@pytest.mark.filterwarnings("ignore")
def test_the_official_files_are_those_that_torchvision_knows() -> None:
    theirs = pytest.importorskip("torchvision.datasets")
    assert {f"{name}.gz": md5 for name, md5 in mnist.CHECKSUMS.items()} == dict(theirs.MNIST.resources)
    assert tuple(theirs.MNIST.mirrors) == mnist.MIRRORS
    assert {part: (svhn.URL + f"{part}_32x32.mat", md5) for part, md5 in svhn.CHECKSUMS.items()} == {
        part: (url, md5) for part, (url, _, md5) in theirs.SVHN.split_list.items()
    }
    for ours in (celeba.ARCHIVE, celeba.PARTITION, celeba.ATTRIBUTES):
        assert (ours.drive, ours.md5, ours.name) in theirs.CelebA.file_list


@pytest.mark.parametrize("name", SOURCES)
def test_without_files_or_network_the_message_says_what_to_put_where(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"name resolution(?s:.*)Get it by hand") as caught:
        SOURCES[name]("train")
    assert str(tmp_path / "default" / name) in str(caught.value)
    with pytest.raises(DataError, match=r"download = false") as caught:
        SOURCES[name]("train", root=tmp_path / "here", download=False)
    assert str(tmp_path / "here" / name) in str(caught.value)


@pytest.mark.parametrize("name", SOURCES)
def test_files_that_are_not_the_official_ones_are_told(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    SOURCES[name]("train", root=tmp_path, verify=False)  # which must not count as checked
    with pytest.raises(DataError, match=r"has MD5 [0-9a-f]{32}, not [0-9a-f]{32}; (?s:.*)verify = false"):
        SOURCES[name]("train", root=tmp_path)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("large", [False, True])
def test_all_is_decoded_once(tmp_path: Path, name: str, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(base, "LARGE", 100)
    WRITERS[name](tmp_path / name)
    first = _all(SOURCES[name]("train", root=tmp_path, verify=False))
    files = list((tmp_path / "decoded").glob("*.npy"))
    assert len(files) == 1
    monkeypatch.setattr("owae_data.cache.ArrayCache.make", None)
    again = SOURCES[name]("train", root=tmp_path, verify=False)
    assert torch.equal(_all(again), first)
    assert not list((tmp_path / "decoded").glob(".*.part"))


@pytest.mark.parametrize("name", SOURCES)
def test_other_files_are_decoded_anew(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    first = _all(SOURCES[name]("train", root=tmp_path, verify=False))
    WRITERS[name](tmp_path / name, seed=1)
    assert not torch.equal(_all(SOURCES[name]("train", root=tmp_path, verify=False)), first)


def test_a_full_disk_is_loud_for_much_and_survived_for_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = write_mnist(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    source = Mnist("train", root=tmp_path, verify=False)
    assert np.array_equal(_all(source)[:, 0].numpy(), made["train"][0])
    assert "No space left" in caplog.text
    monkeypatch.setattr(base, "LARGE", 100)
    with pytest.raises(DataError, match=r"No space left(?s:.*)set OWAE_DATA"):
        Mnist("train", root=tmp_path, verify=False)
    assert not list((tmp_path / "decoded").glob("*.npy"))
    assert not list((tmp_path / "decoded").glob(".*.part"))
