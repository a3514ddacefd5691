"""`svhn` on small `.mat` files: bytes, other numbers that mean bytes, and what does not; and the check of all decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from owae import DataError
from owae_data.cache import ArrayCache, Decoder
from owae_data.samples import write_svhn
from owae_data.svhn import Svhn


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "default"))


def _all(source: Any) -> torch.Tensor:
    return source.batch(torch.arange(len(source)))


@pytest.mark.parametrize(("parts", "names"), [("train", ["train"]), ("extra", ["extra"]), ("both", ["train", "extra"])])
def test_svhn_is_read_from_mat_files(tmp_path: Path, parts: Any, names: list[str]) -> None:
    made = write_svhn(tmp_path / "svhn")
    for split, wanted in (("train", names), ("test", ["test"])):
        source: Any = Svhn(split, root=tmp_path, parts=parts, verify=False)  # pyright: ignore[reportArgumentType] # one of the two
        assert np.array_equal(_all(source).numpy(), np.concatenate([made[name][0] for name in wanted]))
        assert np.array_equal(source.labels.numpy(), np.concatenate([made[name][1] for name in wanted]))
        assert source.shape == (3, 32, 32)


def test_damaged_mat_files_are_named(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    path = tmp_path / "test_32x32.mat"
    for data, said in [(path.read_bytes()[:3000], "cannot be read"), (b"<html>" * 100, "a web page"), (b"", "cannot be read")]:
        path.write_bytes(data)
        with pytest.raises(DataError, match=said) as caught:
            Svhn("test", root=tmp_path, verify=False)
        assert str(path) in str(caught.value)


def _mat(folder: Path, x: np.ndarray, y: np.ndarray) -> Svhn:
    from scipy.io import savemat

    savemat(folder / "test_32x32.mat", {"X": x, "y": y})
    return Svhn("test", root=folder, verify=False)


X = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
Y = np.array([[10], [1], [9], [10], [2]], np.uint8)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u2", "i8", ">f8"])
def test_whole_numbers_of_any_type_are_the_bytes_that_they_mean(tmp_path: Path, dtype: str) -> None:
    source = _mat(tmp_path, X.astype(dtype), Y.astype(dtype))
    assert np.array_equal(_all(source).numpy(), X.transpose(3, 2, 0, 1))
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 9, 0, 2]
    assert np.array_equal(_all(_mat(tmp_path, X, Y.T)).numpy(), X.transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X / 255, Y, r"'X' from 0 to 1, with fractions; whole numbers 0…255"),
        ((X > 99).astype(float), Y, r"'X' from 0 to 1; whole"),
        (X - 128.0, Y, r"'X' from -128 to 127; whole"),
        (X.astype("i4") * 256, Y, r"'X' from 0 to 65280; whole"),
        (np.where(X == 7, np.nan, X), Y, r"'X' from nan to nan.*whole"),
        (X * 1j, Y, "'X' of type complex128"),
        (X, Y - 1, r"'y' from 0 to 9; whole numbers 1…10"),
        (X, Y + 0.5, r"'y' from 1\.5 to 10\.5, with fractions"),
        (X, np.where(Y == 9, np.nan, Y), r"'y' from nan"),
        (X, Y[:4], "a label for each image"),
        (X[..., :0], Y[:0], "a label for each image"),
        (X, np.array([["ten", "one"]]), "a label for each image"),
    ],
)
def test_other_numbers_in_mat_files_are_refused(tmp_path: Path, x: np.ndarray, y: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        _mat(tmp_path, x, y)
    assert str(tmp_path / "test_32x32.mat") in str(caught.value)
    assert not list((tmp_path / "decoded").glob("*.npy")) or "'y'" in words


def test_parts_of_different_sizes_are_refused(tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "train_32x32.mat", {"X": X, "y": Y})
    savemat(tmp_path / "extra_32x32.mat", {"X": X[:16], "y": Y})
    with pytest.raises(DataError, match=r"extra_32x32\.mat has images of shape \(16, 32, 3\), train_32x32\.mat of shape"):
        Svhn("train", root=tmp_path, verify=False, parts="both")


@pytest.mark.parametrize("block", [np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 3, 4), np.uint8), np.zeros((1, 1, 3, 3), np.uint8)])
def test_no_decoder_writes_other_bytes_than_it_promised(tmp_path: Path, block: np.ndarray) -> None:
    decoder = Decoder((2, 1, 3, 3), lambda: [block])
    for make in (decoder.in_memory, lambda: ArrayCache(tmp_path, "x", {}).make(decoder)):
        with pytest.raises(TypeError, match="promised"):
            make()
    assert not list(tmp_path.rglob("*.npy"))
