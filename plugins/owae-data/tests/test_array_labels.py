"""Labels beside arrays: whole numbers or texts, one numbering for both splits; and numbers that 32 bits cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from owae.errors import DataError
from owae_data.arrays import Arrays

X = np.random.default_rng(0).random((6, 4), dtype=np.float32)


def _both(path: Path, **arrays: Any) -> tuple[Arrays, Arrays]:
    np.savez(path / "x.npz", **arrays)
    return Arrays("train", path=path / "x.npz"), Arrays("test", path=path / "x.npz")


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_names_of_classes_numbered_alike_in_both_splits(tmp_path: Path, kind: str) -> None:
    names = np.array(["owl", "cat", "", "cat", "owl", "owl"]).astype(kind)
    train, test = _both(tmp_path, x_train=X, y_train=names, x_test=X[:2], y_test=np.array(["dog", "owl"]))
    assert train.class_names == test.class_names == ("cat", "dog", "owl")
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([2, 0, -1, 0, 2, 2], [1, 2])
    held = _both(tmp_path, x=X, y=names)
    assert held[0].class_names == held[1].class_names == ("cat", "owl")


def test_texts_in_one_split_and_numbers_in_the_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are texts, those of the other split numbers"):
        _both(tmp_path, x_train=X, y_train=np.array(list("aabbcc")), x_test=X[:2], y_test=np.array([0, 1]))
    with pytest.raises(DataError, match="one whole number or text for each of the 6 examples"):
        _both(tmp_path, x=X, y=np.array(list("ab")))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rescale", [True, False])
def test_numbers_beyond_32_bits_are_refused(tmp_path: Path, rescale: bool) -> None:
    np.save(tmp_path / "x.npy", 1e300 * X.astype(np.float64))
    with pytest.raises(DataError, match="which 32 bits cannot hold; scaled ones would work"):
        Arrays("train", path=tmp_path / "x.npy", rescale=rescale)
    np.save(tmp_path / "x.npy", 1e37 * X)
    assert Arrays("train", path=tmp_path / "x.npy", rescale=rescale).batch(torch.arange(3)).isfinite().all()
