"""Which folders of a set of pictures are taken for its splits, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from owae import DataError
from owae_data.image_folder import ImageFolder


def _make(folder: Path, *names: str) -> None:
    for value, name in enumerate(names, start=1):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 3), value).save(path)


def _values(folder: Path, split: str, **options: object) -> list[int]:
    source = ImageFolder(split, path=folder, **options)  # pyright: ignore[reportArgumentType] # one of the two
    return [int(source[i].max()) for i in range(len(source))]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training", "TESTING"),
        ("train", "val"),
        ("TRAIN", "Valid"),
        ("training", "validation"),
        ("Train", "Dev"),
    ],
)
def test_the_usual_names_are_splits_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    _make(tmp_path, f"{train}/a/1", f"{train}/b/2", f"{test}/b/3", f"{test}/a/4")
    assert _values(tmp_path, "train") == [1, 2]
    assert sorted(_values(tmp_path, "test")) == [3, 4]
    source = ImageFolder("test", path=tmp_path)
    assert source.class_names == ("a", "b")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1]


def test_validation_beside_test_stays_unused_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _make(tmp_path, "train/1", "val/2", "test/3", "unlabeled/4")
    assert (_values(tmp_path, "train"), _values(tmp_path, "test")) == ([1], [3])
    assert "2 pictures outside 'train', 'test' are passed over: 'unlabeled', 'val'" in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ("train/1", "cats/2"),  # one of two
        ("test/1", "test/2"),
        ("val/1", "test/2"),
        ("train/1", "Train/2", "test/3"),  # two of one
        ("train2017/1", "val2017/2"),
        ("trian/1", "test/2"),
        ("train/1", "test/2", "test_2/3"),
        ("Train_Images/1", "Test-Images/2"),
        ("trainset/1", "testset/2"),
        ("trainData/1", "holdout/2"),
        ("trainning/1", "validaton/2"),
        ("cats/1", "dogs/2", "my test/3"),
        ("cats/train/1", "cats/test/2", "dogs/train/3", "dogs/test/4"),  # below the classes
        ("archive/train/1", "archive/val/2"),
    ],
)
def test_what_is_like_splits_by_half_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    _make(tmp_path, *names)
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"splits or classes\?.*splits = false") as caught:
            _values(tmp_path, split)
        assert any(part in str(caught.value) for part in {name.split("/")[0] for name in names})
    assert len(_values(tmp_path, "train", splits=False, holdout=0.3)) == len(names) - 1


def test_classes_with_other_names_stay_classes(tmp_path: Path) -> None:
    names = (
        "rain",
        "brain",
        "device",
        "valley",
        "vest",
        "trailer",
        "text",
        "contest",
        "restaurant",
        "invalid",
        "raining",
        "tasting",
    )
    _make(tmp_path, *(f"{name}/{i}" for name in names for i in range(3)))
    assert ImageFolder("train", path=tmp_path).class_names == tuple(sorted(names))


def test_a_class_called_train_stands_within_splits(tmp_path: Path) -> None:
    _make(tmp_path, "train/car/1", "train/train/2", "test/car/3", "test/train/4")
    assert ImageFolder("test", path=tmp_path).class_names == ("car", "train")


def test_splits_in_the_only_folder_say_which_path_would_work(tmp_path: Path) -> None:
    _make(tmp_path, "archive/train/1", "archive/val/2")
    with pytest.raises(DataError, match=f"path = '{tmp_path / 'archive'}' would take those"):
        _values(tmp_path, "train")
    assert _values(tmp_path / "archive", "train") == [1]
