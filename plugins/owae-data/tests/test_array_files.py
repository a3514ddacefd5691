"""What `arrays` makes of every dtype and layout, and what it refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from owae import DataError
from owae_data import base
from owae_data.arrays import Arrays
from owae_data.layouts import channel_axis
from owae_data.scales import scale_for

RNG = np.random.default_rng(0)


def _saved(tmp_path: Path, array: np.ndarray, name: str = "x.npy") -> Path:
    np.save(tmp_path / name, array)
    return tmp_path / name


def _whole(path: Path, **options: Any) -> tuple[torch.Tensor, Arrays, Arrays]:
    train, test = Arrays("train", path=path, **options), Arrays("test", path=path, **options)
    return torch.cat([source.batch(torch.arange(len(source))) for source in (train, test)]), train, test


@pytest.mark.parametrize(
    ("shape", "layout", "example"),
    [
        ((9, 6, 5), "auto", (1, 6, 5)),
        ((9, 6, 5, 1), "auto", (1, 6, 5)),
        ((9, 6, 5, 3), "auto", (3, 6, 5)),
        ((9, 6, 5, 4), "auto", (4, 6, 5)),
        ((9, 1, 6, 5), "auto", (1, 6, 5)),
        ((9, 3, 6, 5), "auto", (3, 6, 5)),
        ((9, 4, 4, 3), "auto", (3, 4, 4)),
        ((9, 3, 4, 4), "auto", (3, 4, 4)),
        ((9, 2, 6, 6), "auto", (2, 6, 6)),
        ((9, 6, 6, 2), "auto", (2, 6, 6)),
        ((9, 3, 5, 3), "auto", (3, 5, 3)),
        ((9, 3, 6, 3), "hwc", (3, 3, 6)),
        ((9, 7, 6, 3), "chw", (7, 6, 3)),
        ((9, 17), "auto", (17,)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_channels_come_first(tmp_path: Path, shape: tuple[int, ...], layout: Any, example: tuple[int, ...]) -> None:
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    examples, train, test = _whole(_saved(tmp_path, array), layout=layout)
    assert train.shape == test.shape == example
    axis = channel_axis(shape, layout, "x")
    moved = array if axis is None else np.moveaxis(array, axis, 1)
    assert sorted(row.tobytes() for row in moved.reshape(9, *example)) == sorted(row.numpy().tobytes() for row in examples)


def test_an_open_layout_is_said(caplog: pytest.LogCaptureFixture) -> None:
    channel_axis((9, 3, 6, 5), "auto", "x")
    assert not caplog.records
    channel_axis((9, 3, 5, 3), "auto", "x")
    assert "layout = 'chw' or 'hwc' decides it" in caplog.text


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "u8", ">i2", "i8"])
def test_whole_numbers_up_to_255_are_bytes(tmp_path: Path, dtype: str) -> None:
    array = np.arange(120, dtype=dtype).reshape(10, 3, 4)
    examples, train, _ = _whole(_saved(tmp_path, array), value_range=(-1.0, 1.0))
    assert examples.dtype == torch.uint8
    assert train.value_range == (-1, 1)
    assert sorted(examples.flatten().tolist()) == list(range(120))


def test_booleans_are_black_and_white(tmp_path: Path) -> None:
    examples, _, _ = _whole(_saved(tmp_path, RNG.random((10, 3, 4)) > 0.5))
    assert examples.dtype == torch.uint8
    assert set(examples.flatten().tolist()) == {0, 255}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "longdouble"])
def test_floats_within_0_and_1_are_kept(tmp_path: Path, dtype: str) -> None:
    array = RNG.random((10, 3, 4)).astype(dtype)
    examples, train, _ = _whole(_saved(tmp_path, array))
    assert examples.dtype == torch.float32
    assert train.value_range == (0, 1)
    assert sorted(examples.flatten().tolist()) == sorted(array.astype(np.float32).flatten().tolist())


@pytest.mark.parametrize("array", [RNG.normal(5, 30, (20, 3, 4)), RNG.integers(-900, 65536, (20, 3, 4)), np.full((20, 3, 4), 7.5)])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_other_numbers_are_rescaled_by_the_train_split(
    tmp_path: Path, array: np.ndarray, value_range: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    path = _saved(tmp_path, array)
    examples, train, test = _whole(path, value_range=value_range)
    assert train.value_range == test.value_range == value_range
    assert examples.dtype == torch.float32
    low, high = value_range
    assert low <= examples.min()
    assert examples.max() <= high
    assert "is mapped on" in caplog.text
    if array.std() > 0:
        seen = train.batch(torch.arange(len(train)))
        assert (seen.min().item(), seen.max().item()) == pytest.approx(value_range)
        raw = np.concatenate([array[~np.isin(np.arange(20), [5, 15])].ravel(), array[[5, 15]].ravel()])
        inside = torch.from_numpy((raw - raw[: 18 * 12].min()) / np.ptp(raw[: 18 * 12])) * (high - low) + low
        torch.testing.assert_close(examples.flatten(), inside.clamp(low, high).float(), atol=1e-5, rtol=0)


def test_the_range_is_measured_if_floats_must_not_change(tmp_path: Path) -> None:
    array = RNG.normal(5, 30, (20, 3, 4))
    examples, train, test = _whole(_saved(tmp_path, array), rescale=False)
    assert sorted(examples.flatten().tolist()) == sorted(array.astype(np.float32).flatten().tolist())
    assert train.value_range == test.value_range == (examples.min().item(), examples.max().item())
    constant, train, _ = _whole(_saved(tmp_path, np.full((4, 3, 3), 7.0)), rescale=False)
    assert (constant == 7).all()
    assert train.value_range == (7, 8)


@pytest.mark.parametrize("rescale", [True, False])
def test_what_is_not_finite_stays_so(tmp_path: Path, rescale: bool) -> None:
    array = RNG.normal(5, 30, (20, 3, 4)).astype("f4")
    array[0, 0, 0], array[1, 1, 1], array[5, 2, 2] = np.nan, np.inf, -np.inf
    examples, train, test = _whole(_saved(tmp_path, array), rescale=rescale)
    assert examples.isnan().sum() == 1
    assert examples.isposinf().sum() == examples.isneginf().sum() == 1
    assert np.isfinite(train.value_range).all()
    assert train[0].isnan().any()
    assert test[0].isinf().any()
    nothing, train, _ = _whole(_saved(tmp_path, np.full((4, 3, 3), np.nan)), rescale=rescale)
    assert nothing.isnan().all()
    assert train.value_range == (0, 1)


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i2", "?"])
def test_a_mapped_file_gives_the_same(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _saved(
        tmp_path, (RNG.normal(2, 30, (20, 5, 4, 3)) if dtype in ("f4", "f8") else RNG.integers(0, 2, (20, 5, 4, 3))).astype(dtype)
    )
    held, train, _ = _whole(path)
    monkeypatch.setattr("owae_data.array_files.LARGE", 10)
    mapped, other, _ = _whole(path)
    assert train.shape == other.shape == (3, 5, 4)
    assert mapped.dtype == held.dtype
    torch.testing.assert_close(mapped, held, atol=1e-6, rtol=0)
    assert base.LARGE > 10


NAMES = [
    ({"x": 20, "y": 0}, True, None),
    ({"X_train": 20, "Y_train": 0, "X_test": 10, "Y_test": 0}, True, 10),
    ({"train_images": 20, "train_labels": 0, "test_images": 10, "test_labels": 0}, True, 10),
    ({"images": 20, "labels": 0, "other": 5}, True, None),
    ({"something": 20, "small": 3}, False, None),
    ({"data": 20, "data_test": 10}, False, 10),
    ({"x_train": 20, "y_train": 0, "x_val": 10, "y_val": 0}, True, 10),
]


@pytest.mark.parametrize(
    ("arrays", "labelled", "tests"), NAMES, ids=lambda value: str(list(value)) if isinstance(value, dict) else str(value)
)
def test_arrays_are_found_by_their_names(tmp_path: Path, arrays: dict[str, int], labelled: bool, tests: int | None) -> None:
    sizes = {name: size or (10 if "test" in name.lower() or "val" in name.lower() else 20) for name, size in arrays.items()}
    np.savez(
        tmp_path / "x.npz",
        **{name: RNG.integers(0, 255, (sizes[name], 6, 6) if size else (sizes[name],)) for name, size in arrays.items()},  # pyright: ignore[reportArgumentType] # names of arrays
    )
    _, train, test = _whole(tmp_path / "x.npz")
    assert (len(train), len(test)) == ((20, tests) if tests else (18, 2))
    assert (train.labels is not None, test.labels is not None) == (labelled, labelled)
    _, train, test = _whole(tmp_path / "x.npz", labels=False)
    assert train.labels is None
    assert test.labels is None


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    labels = RNG.integers(0, 5, (40, 1))
    images = np.broadcast_to(labels[:, :, None], (40, 4, 4)).astype("u1") * 40
    path = _saved(tmp_path, images)
    other = _saved(tmp_path, labels, "y.npy")
    _, train, test = _whole(path, labels_path=other, holdout=0.3)
    for source in (train, test):
        assert source.labels is not None
        assert torch.equal(source.batch(torch.arange(len(source)))[:, 0, 0, 0].long(), source.labels * 40)
    assert len(test) == 12
    np.savez(tmp_path / "z.npz", pictures=images, kinds=labels)
    _, train, test = _whole(tmp_path / "z.npz", images="pictures", labels="kinds")
    assert train.labels is not None
    assert torch.equal(train.batch(torch.arange(len(train)))[:, 0, 0, 0].long(), train.labels * 40)


def test_a_second_file_can_hold_the_test_split(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (30, 4, 4), dtype=np.uint8)
    path, other = _saved(tmp_path, images[:20]), _saved(tmp_path, images[20:], "t.npy")
    labels = _saved(tmp_path, np.arange(10), "tl.npy")
    examples, train, test = _whole(path, test_path=other, test_labels_path=labels)
    assert (len(train), len(test)) == (20, 10)
    assert np.array_equal(examples[:, 0].numpy(), images)
    assert train.labels is None
    assert test.labels is not None
    with pytest.raises(DataError, match=r"shape \(4, 4\), test examples .* \(5, 4\)"):
        Arrays("train", path=path, test_path=_saved(tmp_path, RNG.random((3, 5, 4)), "u.npy"))
    with pytest.raises(DataError, match="float64 and uint8"):
        Arrays("train", path=path, test_path=_saved(tmp_path, RNG.random((3, 4, 4)), "u.npy"))


def test_holding_out_reaches_every_class(tmp_path: Path) -> None:
    # Classes in turn, as often as one in ten is held out: a plain stride would test one class only.
    np.savez(tmp_path / "x.npz", x=RNG.random((200, 3, 3)), y=np.arange(200) % 10)
    test = Arrays("test", path=tmp_path / "x.npz")
    assert test.labels is not None
    assert test.labels.bincount().tolist() == [2] * 10


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("bomb"),)


def test_pickles_are_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = np.array([_Bomb(), None], dtype=object)
    np.save("x.npy", bomb, allow_pickle=True)
    np.savez("x.npz", x=bomb)
    np.savez("y.npz", x=RNG.random((5, 3, 3)), y=np.array([_Bomb()] * 5, dtype=object))
    for name in ("x.npy", "x.npz", "y.npz"):
        with pytest.raises(DataError, match="Python objects"):
            Arrays("train", path=Path(name))
    bomb.dump("z.npy")
    with pytest.raises(DataError, match=r"no \.npy or \.npz"):
        Arrays("train", path=Path("z.npy"))
    assert not Path("bomb").exists()


def test_mistakes_are_named(tmp_path: Path) -> None:
    def refused(match: str, **options: Any) -> None:
        with pytest.raises(DataError, match=match):
            Arrays("train", **options)

    refused("does not exist", path=tmp_path / "none.npy")
    refused("is a folder", path=tmp_path)
    refused(r"shape \(2, 2, 2, 2, 2\)", path=_saved(tmp_path, RNG.random((2, 2, 2, 2, 2))))
    refused(r"shape \(5,\)", path=_saved(tmp_path, RNG.random(5)))
    refused("a single number", path=_saved(tmp_path, np.array(5.0)))
    refused("none empty", path=_saved(tmp_path, RNG.random((0, 4, 4))))
    refused("one must be held out", path=_saved(tmp_path, RNG.random((1, 4, 4))))
    refused("complex128", path=_saved(tmp_path, RNG.random((4, 4)) * 1j))
    refused("<U1", path=_saved(tmp_path, np.array([["a", "b"], ["c", "d"]])))
    path = _saved(tmp_path, RNG.random((9, 4, 4)))
    refused(r"each of the 9 examples", path=path, labels_path=_saved(tmp_path, np.arange(8), "y.npy"))
    refused(r"dtype float64", path=path, labels_path=_saved(tmp_path, RNG.random(9), "y.npy"))
    (tmp_path / "x.npy").write_bytes(path.read_bytes()[:200])
    refused("damaged or incomplete", path=path)
    path.write_text("<!DOCTYPE html>")
    refused("numpy.save", path=path)
    np.savez(tmp_path / "x.npz", a=RNG.random((9, 4)), b=RNG.random((9, 4)))
    refused("one of: 'a'", path=tmp_path / "x.npz")
    refused("did you mean 'a'", path=tmp_path / "x.npz", images="A_")
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:300])
    refused(r"no \.npy or \.npz", path=tmp_path / "x.npz")


def test_what_was_done_is_said_once_for_both_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _saved(tmp_path, RNG.normal(size=(20, 4, 4)))
    with caplog.at_level(logging.INFO):
        _whole(path)
    assert caplog.text.count("is mapped on") == 1


@pytest.mark.parametrize("value", [-(2.0**63), 1e30, -1e30, 5.0, 0.0])
@pytest.mark.parametrize("rescale", [True, False])
def test_arrays_of_one_value_have_a_range(value: float, rescale: bool) -> None:
    array = np.full((4, 3), value)
    scale = scale_for({array.dtype}, (value, value), (value, value), (-1.0, 1.0), rescale=rescale, place="x")
    assert scale.value_range[0] < scale.value_range[1]
    assert scale(torch.from_numpy(array)).isfinite().all()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0.0, np.inf, 1.0, 2.0]), "dtype float64"),
        (np.array([0, 1, 2, 2**64 - 1], np.uint64), "labels from 0 to 18446744073709551615"),
        (np.array([0, 1, -2, 1]), "labels from -2 to 1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: np.ndarray, words: str) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 3)), y=labels)
    with pytest.raises(DataError, match=words):
        Arrays("train", path=tmp_path / "x.npz")
