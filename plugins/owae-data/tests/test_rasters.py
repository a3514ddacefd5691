"""Folders of TIFF files of many channels and bits, and of arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from owae.errors import DataError
from owae.testing import check_source
from owae_data.image_folder import ImageFolder

Write = Callable[[Path, np.ndarray], Any]

LAYOUTS: dict[str, Write] = {
    "pixel by pixel": lambda path, x: tifffile.imwrite(path, x.transpose(1, 2, 0), planarconfig="contig", photometric="minisblack"),
    "plane by plane": lambda path, x: tifffile.imwrite(path, x, planarconfig="separate", photometric="minisblack"),
    "page by page": lambda path, x: tifffile.imwrite(path, x, photometric="minisblack"),
    "big-endian": lambda path, x: tifffile.imwrite(
        path, x.transpose(1, 2, 0), byteorder=">", photometric="minisblack", planarconfig="contig"
    ),
    "array": lambda path, x: np.save(path.with_suffix(".npy"), x),
    "array with the channels last, in memory order of Fortran": lambda path, x: np.save(
        path.with_suffix(".npy"), np.asfortranarray(x.transpose(1, 2, 0))
    ),
}


def _pictures(count: int = 6, channels: int = 4, dtype: Any = np.uint16) -> np.ndarray:
    high = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    return (np.random.default_rng(0).uniform(0, high, (count, channels, 9, 7))).astype(dtype)


def _write(folder: Path, pictures: np.ndarray, write: Write = LAYOUTS["plane by plane"]) -> None:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        write(folder / f"{number}.tif", picture)


def _all(folder: Path, **options: Any) -> torch.Tensor:
    """The pictures of both splits, in the order of the files."""
    train, test = (ImageFolder(split, path=folder, holdout=0.2, **options) for split in ("train", "test"))
    assert len(test) == 1
    parts = [source.batch(torch.arange(len(source))) for source in (train, test)]
    middle = len(train) // 2 + len(train) % 2
    return torch.cat([parts[0][:middle], parts[1], parts[0][middle:]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_channels_are_found_however_they_lie(tmp_path: Path, layout: str) -> None:
    pictures = _pictures()
    _write(tmp_path, pictures, LAYOUTS[layout])
    assert torch.allclose(_all(tmp_path), torch.from_numpy(pictures / 65535).float(), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.float32])
def test_whole_numbers_have_the_range_of_their_type_and_floats_that_of_zero_to_one(tmp_path: Path, dtype: Any) -> None:
    pictures = _pictures(channels=5, dtype=dtype)
    _write(tmp_path, pictures)
    found = _all(tmp_path, value_range=(-1.0, 1.0))
    if dtype == np.uint8:
        assert torch.equal(found, torch.from_numpy(pictures))
        return
    low, high = (0, 1) if dtype == np.float32 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert np.allclose(found, (pictures.astype(np.float64) - low) / (high - low) * 2 - 1, atol=1e-6)


def test_a_range_that_is_said_and_floats_that_go_beyond_one(tmp_path: Path) -> None:
    _write(tmp_path / "whole", _pictures() // 16)
    said = _all(tmp_path / "whole", source_range=(0.0, 1000.0))
    assert np.allclose(said, (_pictures() // 16).clip(0, 1000) / 1000, atol=1e-6)
    pictures = _pictures(dtype=np.float32) * 30 - 10
    (tmp_path / "train").mkdir()
    _write(tmp_path / "train" / "train", pictures[:4])
    _write(tmp_path / "train" / "test", pictures[4:] * 2)
    train, test = (ImageFolder(split, path=tmp_path / "train") for split in ("train", "test"))
    low, high = pictures[:4].min(), pictures[:4].max()
    assert np.allclose(train.batch(torch.arange(4)), (pictures[:4] - low) / (high - low), atol=1e-5)
    assert np.allclose(test.batch(torch.arange(2)), ((pictures[4:] * 2 - low) / (high - low)).clip(0, 1), atol=1e-5)


def test_an_array_of_many_pictures(tmp_path: Path) -> None:
    pictures = _pictures(count=5, channels=2, dtype=np.float32)
    np.save(tmp_path / "x.npy", pictures)
    assert torch.equal(_all(tmp_path, layout="chw"), torch.from_numpy(pictures))


def test_the_contract_with_classes_size_and_crop(tmp_path: Path) -> None:
    for number, kind in enumerate(("forest", "water")):
        _write(tmp_path / kind, _pictures(count=5) // (1 + number))
    check_source(ImageFolder, path=tmp_path, crop=(7, 7), size=(4, 4))
    source = ImageFolder("train", path=tmp_path, crop=(7, 7), size=(4, 4))
    assert source.shape == (4, 4, 4)
    assert source.class_names == ("forest", "water")


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    _write(tmp_path, _pictures())
    with pytest.raises(ValueError, match="files of many channels or bits keep their own"):
        ImageFolder("train", path=tmp_path, channels=3)
    (tmp_path / "2.tif").write_bytes((tmp_path / "2.tif").read_bytes()[:300])
    with pytest.raises(DataError, match=r"1 of 6 pictures cannot be used(?s:.*)2\.tif"):
        ImageFolder("train", path=tmp_path)
    assert len(ImageFolder("train", path=tmp_path, skip_broken=True)) == 4
    tifffile.imwrite(tmp_path / "3.tif", _pictures(channels=5)[0], planarconfig="separate", photometric="minisblack")
    with pytest.raises(
        DataError, match=r"3\.tif holds .* of shape \(5, 9, 7\) \(channels, height, width\), 0\.tif .* of \(4, 9, 7\)"
    ):
        ImageFolder("train", path=tmp_path, skip_broken=True)
    np.save(tmp_path / "other.npy", np.zeros(3))  # beside pictures it is none of them


def test_a_first_file_that_is_broken_is_left_out_and_the_rest_keep_their_depth(tmp_path: Path) -> None:
    pictures = _pictures()
    _write(tmp_path, pictures)
    (tmp_path / "-.tif").symlink_to(tmp_path / "nowhere")
    (tmp_path / "-a.tif").write_bytes(b"II*\0junk")
    with pytest.raises(DataError, match=r"2 of 8 pictures cannot be used(?s:.*)-\.tif: a link that leads nowhere"):
        ImageFolder("train", path=tmp_path)
    assert torch.allclose(_all(tmp_path, skip_broken=True), torch.from_numpy(pictures / 65535).float(), atol=1e-6)


def test_values_that_are_not_finite_are_told(tmp_path: Path) -> None:
    pictures = _pictures(dtype=np.float32)
    pictures[1, 0, 0, 0] = np.nan
    _write(tmp_path, pictures)
    with pytest.raises(DataError, match=r"1\.tif: holds values that are not finite"):
        ImageFolder("train", path=tmp_path)


def test_without_tifffile_what_needs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        image = np.full((4, 8, 8), i, np.uint16)
        tifffile.imwrite(tmp_path / f"{i}.tif", image, photometric="minisblack", planarconfig="separate")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"pip install 'owae-data\[tiff\]'"):
        ImageFolder("train", path=tmp_path)


BYTES: dict[str, tuple[int, dict[str, Any], tuple[int, ...]]] = {
    "grey": (1, {"photometric": "minisblack"}, (1, 9, 7)),
    "grey and opacity": (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}, (1, 9, 7)),
    "two channels": (2, {"photometric": "minisblack"}, (2, 9, 7)),
    "colour": (3, {"photometric": "rgb"}, (3, 9, 7)),
    "three channels": (3, {"photometric": "minisblack"}, (3, 9, 7)),
    "colour and opacity": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, (3, 9, 7)),
    "colour and infrared": (4, {"photometric": "rgb", "extrasamples": ["unspecified"]}, (4, 9, 7)),
    "four channels": (4, {"photometric": "minisblack"}, (4, 9, 7)),
    "inks": (4, {"photometric": "separated"}, (3, 9, 7)),
}


@pytest.mark.parametrize("kind", BYTES)
def test_no_channel_of_bytes_is_dropped_but_opacity(tmp_path: Path, kind: str) -> None:
    channels, how, shape = BYTES[kind]
    pictures = _pictures(channels=channels, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        tifffile.imwrite(tmp_path / f"{number}.tif", picture.transpose(1, 2, 0).squeeze(), planarconfig="contig", **how)
    found = _all(tmp_path)
    assert (tuple(found.shape[1:]), found.dtype) == (shape, torch.uint8)
    if shape[0] == channels:
        assert torch.equal(found, torch.from_numpy(pictures))


@pytest.mark.parametrize("kind", BYTES)
def test_without_tifffile_no_channel_is_dropped_either(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channels, how, shape = BYTES[kind]
    for number, picture in enumerate(_pictures(channels=channels, dtype=np.uint8)):
        tifffile.imwrite(tmp_path / f"{number}.tif", picture.transpose(1, 2, 0).squeeze(), planarconfig="contig", **how)
    with_it = _all(tmp_path)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    try:
        assert torch.equal(_all(tmp_path), with_it)
    except DataError as error:
        assert shape[0] in (2, 3, 4), "grey is read without it"
        assert kind not in ("colour", "colour and opacity", "inks")
        assert "pip install 'owae-data[tiff]'" in str(error)  # noqa: PT017 # either is right


def test_without_tifffile_depth_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        picture = np.random.default_rng(number).integers(0, 65536, (9, 7, 4), dtype=np.uint16)
        tifffile.imwrite(tmp_path / f"{number}.tif", picture, photometric="rgb", extrasamples=["unspecified"])
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"pip install 'owae-data\[tiff\]'"):  # Pillow would read three channels of 8 bits
        ImageFolder("train", path=tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_16_bits_is_read_in_full_where_its_range_is_said(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = np.random.default_rng(0).integers(0, 4096, (6, 9, 7), dtype=np.uint16)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}{suffix}")
    assert _all(tmp_path).dtype == torch.uint8
    assert caplog.text.count("source_range = [0, 4095], or what their camera has") == 1
    assert torch.allclose(_all(tmp_path, source_range=(0, 4095)), torch.from_numpy(pictures[:, None] / 4095).float(), atol=1e-6)
    Image.fromarray((pictures[0] // 16).astype(np.uint8)).save(tmp_path / "6.png")
    with pytest.raises(DataError, match=r"6\.png: no TIFF, and no PNG in grey of 16 bits"):
        ImageFolder("train", path=tmp_path, source_range=(0, 4095))


def test_pages_of_bytes_that_are_left_out_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Image.fromarray(np.zeros((9, 7), np.uint8)).save(tmp_path / "-.tif")  # the first has but one
    _write(tmp_path, _pictures(count=5, channels=5, dtype=np.uint8), LAYOUTS["page by page"])
    assert _all(tmp_path).shape == (6, 1, 9, 7)
    told = "5 of 6 files hold further pages or frames, and the first of each is read: 0.tif, 1.tif, 2.tif, 3.tif, 4.tif"
    assert caplog.text.count(told) == 1


@pytest.mark.parametrize("program", [{"imagej": True}, {"ome": True}])
def test_pages_of_bytes_that_a_file_calls_channels_are_channels(
    tmp_path: Path, program: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = _pictures(channels=3, dtype=np.uint8)
    _write(
        tmp_path, pictures, lambda path, x: tifffile.imwrite(path, x, photometric="minisblack", metadata={"axes": "CYX"}, **program)
    )
    assert torch.equal(_all(tmp_path), torch.from_numpy(pictures))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"pip install 'owae-data\[tiff\]'"):
        ImageFolder("train", path=tmp_path)
