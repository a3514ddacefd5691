"""Sets by torchvision's names that owae reads: what torchvision reads, from small files in their true formats."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision_sets import check_same, everything, labels_of, opened, random_bytes

from owae.errors import DataError
from owae.testing import check_source
from owae_data.samples import write_idx, write_mnist, write_svhn
from owae_data.vision.source import Torchvision

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def root(store: Path) -> Path:
    return store


def _archive(path: Path, folder: str, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_sets_in_the_format_of_mnist(root: Path, name: str) -> None:
    write_mnist(root / name / "raw", packed=False)
    for part in ("train", "test"):
        source = opened(name, part)
        check_same(source, getattr(datasets, name)(root, train=part == "train"))
        assert source.class_names == tuple(getattr(datasets, name).classes)
    check_source(Torchvision, name=name, verify=False)
    assert Torchvision.declared_shape(name=name, verify=True, channels=None, size=(16, 16), crop=None) == (1, 16, 16)


@pytest.mark.parametrize("split", ["letters", "byclass"])
@pytest.mark.parametrize("packed", [True, False])
def test_emnist_is_read_upright_from_its_archive_or_unpacked(root: Path, split: str, packed: bool) -> None:
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "test"):
        write_idx(raw / f"emnist-{split}-{part}-images-idx3-ubyte", random_bytes(12, 28, 28, seed=part == "test"))
        write_idx(
            raw / f"emnist-{split}-{part}-labels-idx1-ubyte", np.arange(1, 13, dtype=np.uint8) % (13 if split == "letters" else 10)
        )
    theirs = datasets.EMNIST(root, split=split, train=False)
    if packed:
        with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
            for path in raw.glob("emnist*"):
                archive.writestr(f"gzip/{path.name}.gz", gzip.compress(path.read_bytes()))
                path.unlink()
    source = opened("EMNIST", "test", split=split)
    check_same(source, theirs, upright=True)
    assert source.class_names == tuple(theirs.classes)


@pytest.mark.parametrize("test_split", ["test", "test10k", "test50k"])
def test_qmnist_takes_the_class_out_of_all_that_it_knows(root: Path, test_split: str) -> None:
    raw = root / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6), ("test", 10005)):
        write_idx(raw / f"qmnist-{part}-images-idx3-ubyte", random_bytes(count, 2, 2))
        write_idx(raw / f"qmnist-{part}-labels-idx2-int", random_bytes(count, 8, seed=1).astype(np.int32) % 10)
    theirs = datasets.QMNIST(root, what=test_split)
    source = opened("QMNIST", "test", test_split=test_split)
    assert torch.equal(everything(source)[:, 0], theirs.data)
    assert labels_of(source) == theirs.targets[:, 0].tolist()
    with pytest.raises(ValueError, match="QMNIST has no part 'nist'; valid: train, test"):
        opened("QMNIST", split="nist")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_cifar_is_read_from_its_binary_version(root: Path, name: str, packed: bool) -> None:
    ten, folder = name == "CIFAR10", {"CIFAR10": "cifar-10-batches-bin", "CIFAR100": "cifar-100-binary"}[name]
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"] if ten else ["train.bin", "test.bin"]
    files, made = {}, {}
    for number, file in enumerate(names):
        images, labels = random_bytes(4, 3, 32, 32, seed=number), random_bytes(4, 1 if ten else 2, seed=number) % 10
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
        source = opened(name, part)
        assert np.array_equal(everything(source).numpy(), np.concatenate([made[one][0] for one in wanted]))
        assert labels_of(source) == np.concatenate([made[one][1] for one in wanted]).tolist()
        assert source.class_names == tuple(f"class {i}" for i in range(100))
    check_source(Torchvision, name=name, verify=False)


def test_classes_beyond_those_of_a_set_are_refused(root: Path) -> None:
    (root / "cifar-10-batches-bin").mkdir()
    (root / "stl10_binary").mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (root / "cifar-10-batches-bin" / name).write_bytes(b"\x0a" + bytes(3072))
    for part in ("train", "test"):
        (root / "stl10_binary" / f"{part}_X.bin").write_bytes(bytes(3 * 96 * 96))
        (root / "stl10_binary" / f"{part}_y.bin").write_bytes(b"\x00")
    with pytest.raises(DataError, match="a picture of class 10; classes are numbered from 0 to 9"):
        opened("CIFAR10")
    with pytest.raises(DataError, match="has labels from 0 to 0; 1 to 10 are wanted"):
        opened("STL10")
    raw = root / "FashionMNIST" / "raw"
    write_mnist(raw, packed=False)
    count = len(opened("FashionMNIST"))
    write_idx(raw / "train-labels-idx1-ubyte", np.full(count, 10, np.uint8))
    with pytest.raises(
        DataError, match="train-labels-idx1-ubyte holds classes from 10 to 10, where 0 to 9, or -1 for none would work"
    ):
        opened("FashionMNIST")


def test_the_pickles_of_cifar_are_named_and_left_alone(root: Path) -> None:
    (root / "cifar-10-batches-py").mkdir()
    with pytest.raises(
        DataError, match=r"cifar-10-binary\.tar\.gz(?s:.*)MD5 c32a1d4a(?s:.*)cifar-10-batches-py is the Python version"
    ):
        opened("CIFAR10")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("split", "folds"), [("train", None), ("train", 1), ("train+unlabeled", None), ("unlabeled", None)])
def test_stl10(root: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, split: str, folds: int | None) -> None:
    files = {
        f"{part}_X.bin": random_bytes(n, 3, 96, 96, seed=n).tobytes() for part, n in (("train", 6), ("test", 4), ("unlabeled", 5))
    }
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
    check_same(opened("STL10", **options), theirs)
    check_same(opened("STL10", "test", **options), tests)
    assert opened("STL10", **options).class_names == tuple("abcdefghij")


def test_svhn_as_torchvision_reads_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda _: True)
    write_svhn(root)
    check_same(opened("SVHN", "train", split="extra"), datasets.SVHN(root, split="extra"))
