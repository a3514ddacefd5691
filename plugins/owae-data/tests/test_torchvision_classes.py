"""Sets by torchvision's names that its own classes open, and mistakes in a config that names a set."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision_sets import check_same, everything, labels_of, opened, write_pictures

from owae import Registry
from owae.config.build import build_source
from owae.config.config import Config
from owae.errors import ConfigError, DataError
from owae.testing import check_source
from owae_data.samples import write_mnist
from owae_data.vision.file_sets import SHAPES
from owae_data.vision.source import _REFUSED, SETS, Torchvision

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def root(store: Path) -> Path:
    return store


def _food(root: Path) -> None:
    parts = {"train": ["pie/1", "soup/2", "pie/3"], "test": ["soup/4", "pie/5"]}
    for part, stems in parts.items():
        (root / "food-101" / "meta").mkdir(parents=True, exist_ok=True)
        by_class: dict[str, list[str]] = {}
        for stem in stems:
            by_class.setdefault(stem.split("/")[0], []).append(stem)
        (root / "food-101" / "meta" / f"{part}.json").write_text(json.dumps(by_class))
    write_pictures(root / "food-101" / "images", *(f"{stem}.jpg" for stems in parts.values() for stem in stems))


def _pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for part, stems in {"trainval": ["Abyssinian_1", "great_pyrenees_2"], "test": ["Abyssinian_3", "great_pyrenees_4"]}.items():
        lines = [f"{stem} {1 + stem.startswith('great')} 1 1\n" for stem in stems]
        (base / "annotations" / f"{part}.txt").write_text("".join(lines))
        write_pictures(base / "images", *(f"{stem}.jpg" for stem in stems), size=(6, 8 + (part == "test")))


def _gtsrb(root: Path) -> None:
    base = root / "gtsrb"
    write_pictures(base / "GTSRB" / "Training", "00000/1.ppm", "00001/2.ppm", "00001/3.ppm")
    write_pictures(base / "GTSRB" / "Final_Test" / "Images", "00000.ppm", "00001.ppm", size=(6, 9))
    (base / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;1\n00001.ppm;0\n")


def _dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    write_pictures(base / "images", "dots/1.jpg", "lines/2.jpg", "dots/3.jpg", "lines/4.jpg")
    (base / "labels").mkdir()
    for part, lines in {"train2": "dots/1.jpg\nlines/2.jpg", "test2": "dots/3.jpg\nlines/4.jpg"}.items():
        (base / "labels" / f"{part}.txt").write_text(lines)


def _omniglot(root: Path) -> None:
    for part, seed in (("images_background", "Greek"), ("images_evaluation", "Latin")):
        for letter in ("a", "b"):
            write_pictures(root / "omniglot-py" / part / seed / letter, "1.png", "2.png", mode="1")


Opened = tuple[Callable[[Path], None], dict[str, Any], dict[str, Any], dict[str, Any]]
OPENED: dict[str, Opened] = {  # writes the files; options of ours; arguments of torchvision's for train, and for test
    "Food101": (_food, {}, {"split": "train"}, {"split": "test"}),
    "OxfordIIITPet": (_pets, {"size": (6, 8)}, {"split": "trainval"}, {"split": "test"}),
    "GTSRB": (_gtsrb, {"size": (6, 8)}, {"split": "train"}, {"split": "test"}),
    "DTD": (_dtd, {"options": {"partition": 2}}, {"split": "train", "partition": 2}, {"split": "test", "partition": 2}),
    "Omniglot": (_omniglot, {}, {"background": True}, {"background": False}),
}


@pytest.mark.parametrize("name", OPENED)
def test_sets_that_torchvisions_classes_open(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(datasets.Omniglot, "_check_integrity", lambda _: True)  # which looks for the archives
    write, options, *splits = OPENED[name]
    write(root)
    for part, arguments in zip(("train", "test"), splits, strict=True):
        source, theirs = opened(name, part, **options), getattr(datasets, name)(root, **arguments)
        if len({picture.size for picture, _ in theirs}) == 1 == len({source.shape[1:], theirs[0][0].size[::-1]}):
            check_same(source, theirs)
        assert source.class_names is None or list(source.class_names) == theirs.classes
        assert source.labels is None or labels_of(source) == [label for _, label in theirs]
        assert source.shape[0] == (1 if name == "Omniglot" else 3)
        assert (source.labels is None) == (name == "Omniglot")


def test_one_without_parts_is_held_out_from_by_class(root: Path) -> None:
    write_pictures(root / "eurosat" / "2750", *(f"{kind}/{i}{kind}.jpg" for kind in ("Forest", "River") for i in range(6)))
    train, test = (opened("EuroSAT", part, holdout=0.3) for part in ("train", "test"))
    assert (len(train), len(test)) == (8, 4)
    assert labels_of(test) == [0, 0, 1, 1]
    assert test.class_names == ("Forest", "River")
    with pytest.raises(ValueError, match="EuroSAT has no parts to choose from"):
        opened("EuroSAT", split="train")


def test_a_folder_of_splits_is_none_of_classes(root: Path) -> None:
    write_pictures(root, *(f"{part}/{kind}/{i}.png" for part in ("train", "val") for kind in "ab" for i in range(2)))
    with pytest.raises(DataError, match="has splits in it; kind = 'image-folder'"):
        Torchvision("train", name="ImageFolder", root=root)


def test_fake_data_leave_the_programs_draws_alone() -> None:
    options = {"size": 20, "image_size": [1, 5, 6], "num_classes": 3}
    check_source(Torchvision, name="FakeData", options=options)
    source = opened("FakeData", options=options)
    assert source.shape == (1, 5, 6)
    assert set(labels_of(source)) <= {0, 1, 2}


def test_pictures_are_made_into_the_form_that_is_asked_for(root: Path) -> None:
    write_mnist(root / "FashionMNIST" / "raw")
    small = opened("FashionMNIST", crop=(20, 24), size=(10, 12), channels=3)
    assert small.shape == (3, 10, 12)
    whole = everything(opened("FashionMNIST"))
    middle = Image.fromarray(whole[3, 0, 4:24, 2:26].numpy()).resize((12, 10), Image.Resampling.BILINEAR)
    assert torch.equal(small[3], torch.from_numpy(np.asarray(middle)).expand(3, -1, -1))
    with pytest.raises(ValueError, match="30x30 is larger than the pictures of FashionMNIST, 28x28"):
        opened("FashionMNIST", crop=(30, 30))


def test_pictures_of_several_sizes_ask_for_one(root: Path) -> None:
    _pets(root)
    write_pictures(root / "oxford-iiit-pet" / "images", "Abyssinian_1.jpg", size=(9, 9))
    with pytest.raises(DataError, match=r"differ in size(?s:.*)set size = "):
        opened("OxfordIIITPet")


# --- mistakes ---


def test_every_set_is_torchvisions_and_tells_its_parts_by_an_argument_that_it_has() -> None:
    for name, parts in SETS.items():
        if name in SHAPES:  # whose files owae finds by itself
            assert hasattr(datasets, name)
            continue
        known = inspect.signature(getattr(datasets, name).__init__).parameters
        assert parts.argument is None or parts.argument in known, name
    assert not {*SETS} & {*_REFUSED}


def test_no_class_that_is_opened_could_load_a_pickle() -> None:
    for name in {*SETS} - {*SHAPES}:
        source = inspect.getsource(sys.modules[getattr(datasets, name).__module__])
        assert not [word for word in ("pickle", "torch.load", "allow_pickle") if word in source], name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "FashionMINST"}, "did you mean 'FashionMNIST'"),
        ({"name": "ImageNet"}, r"pickle(?s:.*)'image-folder' reads its pictures"),
        ({"name": "CelebA"}, "kind = 'celeba' reads it"),
        ({"name": "CocoDetection"}, "no set of single pictures is called 'CocoDetection'"),
        ({"name": "EMNIST"}, r"split: EMNIST consists of six sets; valid: balanced, byclass"),
        ({"name": "EMNIST", "split": "lettres"}, r"EMNIST has no part 'lettres'; valid: byclass(?s:.*)letters"),
        ({"name": "DTD", "options": {"partitoin": 2}}, r"options.partitoin: unknown key; did you mean 'partition'.*are: partition"),
        ({"name": "DTD", "options": {"partition": "two"}}, r"options.partition: found 'two'; should be a valid integer"),
        ({"name": "KMNIST", "options": {"split": "x"}}, "the options of KMNIST are: none"),
        ({"name": "Flowers102", "split": "trian"}, "Unknown value 'trian' for argument split. Valid values are"),
        ({"name": "KMNIST", "split": "test"}, "'test' is what is tested on"),
        ({"name": "STL10", "options": {"folds": 10}}, "no fold 10; valid: 0 to 9"),
    ],
)
def test_mistakes_are_told_with_what_would_work(options: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=said):
        Torchvision("train", download=False, **options)


@pytest.mark.parametrize("name", sorted(SETS))
def test_without_files_the_message_says_where_they_belong(root: Path, name: str) -> None:
    if name == "FakeData":
        return
    options = {"split": "letters"} if name == "EMNIST" else {}
    with pytest.raises(DataError, match=str(root)):
        opened(name, **options)


def test_a_config_names_a_set(root: Path, tmp_path: Path) -> None:
    write_mnist(root / "FashionMNIST" / "raw")
    text = """
    data = { kind = "torchvision", name = "FashionMNIST", verify = false, size = [16, 16], options = {} }
    levels = [{ layer = { kind = "mlp", latent = 2, hidden = [4] } }]
    weights = { match = 1.0 }
    divergence = { kind = "mmd" }
    """
    path = tmp_path / "a.toml"
    path.write_text(text)
    registry = Registry.discover(["owae-data", "owae-layers", "owae-mmd"])
    config = Config.load(path, registry)
    assert build_source(config, registry, "test").shape == (1, 16, 16)
    path.write_text(config.to_toml())
    assert Config.load(path, registry).data.options == config.data.options
