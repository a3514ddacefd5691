"""Sets by the names that torchvision gives them: what is read is what torchvision reads, from small files in their true formats."""

from __future__ import annotations

import gzip
import inspect
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from owae import Registry
from owae.config.build import build_source
from owae.config.config import Config
from owae.errors import ConfigError, DataError
from owae.testing import check_source
from owae_data.samples import write_idx, write_mnist, write_svhn
from owae_data.vision.file_sets import SHAPES
from owae_data.vision.source import _REFUSED, SETS, Torchvision

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def root(store: Path) -> Path:
    return store


def _bytes(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _pictures(folder: Path, *names: str, size: tuple[int, int] = (6, 8), mode: str = "RGB") -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = _bytes(*size, 3, seed=number)
        Image.fromarray(pixels).convert(mode).save(path)


def _archive(path: Path, folder: str, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _source(name: str, part: Any = "train", **options: Any) -> Torchvision:
    return Torchvision(part, name=name, verify=False, download=False, **options)


def _all(source: Torchvision) -> torch.Tensor:
    return source.batch(torch.arange(len(source)))


def _labels(source: Torchvision) -> list[int]:
    assert source.labels is not None
    return source.labels.tolist()


def _same(source: Torchvision, dataset: Any, *, upright: bool = False) -> None:
    """Holds a source to what torchvision's class gives, picture by picture, and to its classes."""
    assert len(source) == len(dataset) > 0
    for index in range(len(dataset)):
        picture, label = dataset[index]
        pixels = np.asarray(picture)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        assert np.array_equal(source[index].numpy(), pixels.swapaxes(1, 2) if upright else pixels)
        assert source.labels is None or int(source.labels[index]) == int(label)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_sets_in_the_format_of_mnist(root: Path, name: str) -> None:
    write_mnist(root / name / "raw", packed=False)
    for part in ("train", "test"):
        source = _source(name, part)
        _same(source, getattr(datasets, name)(root, train=part == "train"))
        assert source.class_names == tuple(getattr(datasets, name).classes)
    check_source(Torchvision, name=name, verify=False)
    assert Torchvision.declared_shape(name=name, verify=True, channels=None, size=(16, 16), crop=None) == (1, 16, 16)


@pytest.mark.parametrize("split", ["letters", "byclass"])
@pytest.mark.parametrize("packed", [True, False])
def test_emnist_is_read_upright_from_its_archive_or_unpacked(root: Path, split: str, packed: bool) -> None:
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "test"):
        write_idx(raw / f"emnist-{split}-{part}-images-idx3-ubyte", _bytes(12, 28, 28, seed=part == "test"))
        write_idx(raw / f"emnist-{split}-{part}-labels-idx1-ubyte", np.arange(1, 13, dtype=np.uint8))
    theirs = datasets.EMNIST(root, split=split, train=False)
    if packed:
        with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
            for path in raw.glob("emnist*"):
                archive.writestr(f"gzip/{path.name}.gz", gzip.compress(path.read_bytes()))
                path.unlink()
    source = _source("EMNIST", "test", split=split)
    _same(source, theirs, upright=True)
    assert source.class_names == tuple(theirs.classes)


@pytest.mark.parametrize("test_split", ["test", "test10k", "test50k"])
def test_qmnist_takes_the_class_out_of_all_that_it_knows(root: Path, test_split: str) -> None:
    raw = root / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6), ("test", 10005)):
        write_idx(raw / f"qmnist-{part}-images-idx3-ubyte", _bytes(count, 2, 2))
        write_idx(raw / f"qmnist-{part}-labels-idx2-int", _bytes(count, 8, seed=1).astype(np.int32) % 10)
    theirs = datasets.QMNIST(root, what=test_split)
    source = _source("QMNIST", "test", test_split=test_split)
    assert torch.equal(_all(source)[:, 0], theirs.data)
    assert _labels(source) == theirs.targets[:, 0].tolist()
    with pytest.raises(ValueError, match="QMNIST has no part 'nist'; valid: train, test"):
        _source("QMNIST", split="nist")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_cifar_is_read_from_its_binary_version(root: Path, name: str, packed: bool) -> None:
    ten, folder = name == "CIFAR10", {"CIFAR10": "cifar-10-batches-bin", "CIFAR100": "cifar-100-binary"}[name]
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"] if ten else ["train.bin", "test.bin"]
    files, made = {}, {}
    for number, file in enumerate(names):
        images, labels = _bytes(4, 3, 32, 32, seed=number), _bytes(4, 1 if ten else 2, seed=number) % 10
        files[file] = np.concatenate([labels, images.reshape(4, -1)], 1).tobytes()
        made[file] = images, labels[:, -1]
    files["batches.meta.txt" if ten else "fine_label_names.txt"] = "\n".join(f"class {i}" for i in range(100)).encode() + b"\n\n"
    if packed:
        _archive(root / "cifar-10-binary.tar.gz" if ten else root / "cifar-100-binary.tar.gz", folder, files)
    else:
        (root / folder).mkdir()
        for file, data in files.items():
            (root / folder / file).write_bytes(data)
    for part, wanted in (("train", names[:-1]), ("test", names[-1:])):
        source = _source(name, part)
        assert np.array_equal(_all(source).numpy(), np.concatenate([made[one][0] for one in wanted]))
        assert _labels(source) == np.concatenate([made[one][1] for one in wanted]).tolist()
        assert source.class_names == tuple(f"class {i}" for i in range(100))
    check_source(Torchvision, name=name, verify=False)


def test_the_pickles_of_cifar_are_named_and_left_alone(root: Path) -> None:
    (root / "cifar-10-batches-py").mkdir()
    with pytest.raises(
        DataError, match=r"cifar-10-binary\.tar\.gz(?s:.*)MD5 c32a1d4a(?s:.*)cifar-10-batches-py is the Python version"
    ):
        _source("CIFAR10")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("split", "folds"), [("train", None), ("train", 1), ("train+unlabeled", None), ("unlabeled", None)])
def test_stl10(root: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, split: str, folds: int | None) -> None:
    files = {f"{part}_X.bin": _bytes(n, 3, 96, 96, seed=n).tobytes() for part, n in (("train", 6), ("test", 4), ("unlabeled", 5))}
    files |= {f"{part}_y.bin": bytes(range(1, n + 1)) for part, n in (("train", 6), ("test", 4))}
    files |= {"class_names.txt": "\n".join("abcdefghij").encode(), "fold_indices.txt": b"0 1\n2 4 5\n"}
    folder = root / "stl10_binary"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda _: True)
    theirs, tests = datasets.STL10(root, split=split, folds=folds), datasets.STL10(root, split="test")
    if packed:
        for path in folder.iterdir():
            path.unlink()
        _archive(folder / "stl10_binary.tar.gz", "stl10_binary", files)
    options = {"split": split, "options": {} if folds is None else {"folds": folds}}
    _same(_source("STL10", **options), theirs)
    _same(_source("STL10", "test", **options), tests)
    assert _source("STL10", **options).class_names == tuple("abcdefghij")


def test_svhn_as_torchvision_reads_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda _: True)
    write_svhn(root)
    _same(_source("SVHN", "train", split="extra"), datasets.SVHN(root, split="extra"))


# --- sets that torchvision's classes open ---


def _food(root: Path) -> None:
    parts = {"train": ["pie/1", "soup/2", "pie/3"], "test": ["soup/4", "pie/5"]}
    for part, stems in parts.items():
        (root / "food-101" / "meta").mkdir(parents=True, exist_ok=True)
        by_class: dict[str, list[str]] = {}
        for stem in stems:
            by_class.setdefault(stem.split("/")[0], []).append(stem)
        (root / "food-101" / "meta" / f"{part}.json").write_text(json.dumps(by_class))
    _pictures(root / "food-101" / "images", *(f"{stem}.jpg" for stems in parts.values() for stem in stems))


def _pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for part, stems in {"trainval": ["Abyssinian_1", "great_pyrenees_2"], "test": ["Abyssinian_3", "great_pyrenees_4"]}.items():
        lines = [f"{stem} {1 + stem.startswith('great')} 1 1\n" for stem in stems]
        (base / "annotations" / f"{part}.txt").write_text("".join(lines))
        _pictures(base / "images", *(f"{stem}.jpg" for stem in stems), size=(6, 8 + (part == "test")))


def _gtsrb(root: Path) -> None:
    base = root / "gtsrb"
    _pictures(base / "GTSRB" / "Training", "00000/1.ppm", "00001/2.ppm", "00001/3.ppm")
    _pictures(base / "GTSRB" / "Final_Test" / "Images", "00000.ppm", "00001.ppm", size=(6, 9))
    (base / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;1\n00001.ppm;0\n")


def _dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    _pictures(base / "images", "dots/1.jpg", "lines/2.jpg", "dots/3.jpg", "lines/4.jpg")
    (base / "labels").mkdir()
    for part, lines in {"train2": "dots/1.jpg\nlines/2.jpg", "test2": "dots/3.jpg\nlines/4.jpg"}.items():
        (base / "labels" / f"{part}.txt").write_text(lines)


def _omniglot(root: Path) -> None:
    for part, seed in (("images_background", "Greek"), ("images_evaluation", "Latin")):
        for letter in ("a", "b"):
            _pictures(root / "omniglot-py" / part / seed / letter, "1.png", "2.png", mode="1")


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
        source, theirs = _source(name, part, **options), getattr(datasets, name)(root, **arguments)
        if len({picture.size for picture, _ in theirs}) == 1 == len({source.shape[1:], theirs[0][0].size[::-1]}):
            _same(source, theirs)
        assert source.class_names is None or list(source.class_names) == theirs.classes
        assert source.labels is None or _labels(source) == [label for _, label in theirs]
        assert source.shape[0] == (1 if name == "Omniglot" else 3)
        assert (source.labels is None) == (name == "Omniglot")


def test_one_without_parts_is_held_out_from_by_class(root: Path) -> None:
    _pictures(root / "eurosat" / "2750", *(f"{kind}/{i}{kind}.jpg" for kind in ("Forest", "River") for i in range(6)))
    train, test = (_source("EuroSAT", part, holdout=0.3) for part in ("train", "test"))
    assert (len(train), len(test)) == (8, 4)
    assert _labels(test) == [0, 0, 1, 1]
    assert test.class_names == ("Forest", "River")
    with pytest.raises(ValueError, match="EuroSAT has no parts to choose from"):
        _source("EuroSAT", split="train")


def test_fake_data_leave_the_programs_draws_alone() -> None:
    options = {"size": 20, "image_size": [1, 5, 6], "num_classes": 3}
    check_source(Torchvision, name="FakeData", options=options)
    source = _source("FakeData", options=options)
    assert source.shape == (1, 5, 6)
    assert set(_labels(source)) <= {0, 1, 2}


def test_pictures_are_made_into_the_form_that_is_asked_for(root: Path) -> None:
    write_mnist(root / "FashionMNIST" / "raw")
    small = _source("FashionMNIST", crop=(20, 24), size=(10, 12), channels=3)
    assert small.shape == (3, 10, 12)
    whole = _all(_source("FashionMNIST"))
    middle = Image.fromarray(whole[3, 0, 4:24, 2:26].numpy()).resize((12, 10), Image.Resampling.BILINEAR)
    assert torch.equal(small[3], torch.from_numpy(np.asarray(middle)).expand(3, -1, -1))
    with pytest.raises(ValueError, match="30x30 is larger than the pictures of FashionMNIST, 28x28"):
        _source("FashionMNIST", crop=(30, 30))


def test_pictures_of_several_sizes_ask_for_one(root: Path) -> None:
    _pets(root)
    _pictures(root / "oxford-iiit-pet" / "images", "Abyssinian_1.jpg", size=(9, 9))
    with pytest.raises(DataError, match=r"differ in size(?s:.*)set size = "):
        _source("OxfordIIITPet")


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
        _source(name, **options)


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
