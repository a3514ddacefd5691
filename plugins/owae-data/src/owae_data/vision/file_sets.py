"""Finds the files of the sets that owae reads by itself, by what torchvision knows of them: names, addresses and checksums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from owae.interfaces import Shape
from owae_data import svhn
from owae_data.cache import data_root
from owae_data.public_files import Labelled, LocalFile, OfficialFile, PublicFiles
from owae_data.vision import binaries
from owae_data.vision.idx import labelled

SHAPES: dict[str, Shape] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST"), (1, 28, 28)),
    **dict.fromkeys(("CIFAR10", "CIFAR100", "SVHN"), (3, 32, 32)),
    "STL10": (3, 96, 96),
}

_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_CIFAR = {  # torchvision knows the pickled version alone
    "CIFAR10": OfficialFile(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        _TORONTO + "cifar.html",
        (_TORONTO + "cifar-10-binary.tar.gz",),
    ),
    "CIFAR100": OfficialFile(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        _TORONTO + "cifar.html",
        (_TORONTO + "cifar-100-binary.tar.gz",),
    ),
}


@dataclass(frozen=True)
class FileSet:
    """A part of a set, found.

    Attributes:
        files: Converts and checks.
        found: What the part is read from.
        decode: Reads it.
        key: What else than the files decides on what is read.
    """

    files: PublicFiles
    found: Sequence[LocalFile]
    decode: Callable[[], Labelled]
    key: dict[str, Any]


def find(dataset: Any, part: str, options: dict[str, Any], root: Path | None, *, download: bool, verify: bool) -> FileSet:
    """Finds the files of a part of a set, or downloads them.

    Args:
        dataset: torchvision's class.
        part: What to read: "train", "test", or another of the set's own names for its parts.
        options: Of the set.
        root: The data folder.
        download: Whether to download what is missing.
        verify: Whether files must have the official checksum.

    Raises:
        DataError: They are missing.
        ValueError: The set has no such part.
    """
    name = dataset.__name__
    open_files = partial(PublicFiles, download=download, verify=verify)
    if name in _CIFAR:
        return _cifar(name, open_files, root, part)
    if name == "STL10":
        return _stl10(dataset, open_files, root, part, options.get("folds"))
    if name == "SVHN":
        files = open_files("svhn", root, "SVHN")
        found = [files.fetch(svhn.official(_one_of(name, part, ("train", "extra", "test"))))]
        return FileSet(files, found, lambda: svhn.decode(found), {})
    if name == "EMNIST":
        return _emnist(dataset, open_files, root, part, options["split"])
    files = open_files("mnist", root, "MNIST/raw") if name == "MNIST" else open_files(name, root, name, folder=f"{name}/raw")
    classes, rows = tuple(dataset.classes), slice(None)
    if name == "QMNIST":
        # "nist" holds the pictures of both splits, so nothing would be left to test on.
        resources = dataset.resources[dataset.subsets[_one_of(name, part, ("train", "test", "test10k", "test50k"))]]
        rows = {"test10k": slice(10000), "test50k": slice(10000, None)}.get(part, rows)
        official = [OfficialFile(url.rsplit("/", 1)[-1], md5, url, (url,)) for url, md5 in resources]
    else:
        stem = {"train": "train", "test": "t10k"}[_one_of(name, part, ("train", "test"))]
        official = [
            OfficialFile(packed, md5, dataset.mirrors[0] + packed, tuple(mirror + packed for mirror in dataset.mirrors))
            for packed, md5 in dataset.resources
            if packed.startswith(stem)
        ]
    images, labels = (files.fetch(one, one.name[:-3], one.name[:-3].replace("-idx", ".idx")) for one in official)
    read = partial(labelled, images, labels, classes=classes, rows=rows)
    return FileSet(files, [images, labels], read, {} if rows == slice(None) else {"part": part})


def _one_of(name: str, part: str, parts: Sequence[str]) -> str:
    if part not in parts:
        raise ValueError(f"{name} has no part '{part}'; valid: {', '.join(parts)}")
    return part


def _emnist(dataset: Any, open_files: Callable[..., PublicFiles], root: Path | None, part: str, split: str) -> FileSet:
    _one_of("EMNIST", split, dataset.splits)
    stem = f"emnist-{split}-{_one_of('EMNIST', part, ('train', 'test'))}"
    names = [f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"]
    files = open_files("EMNIST", root, "EMNIST", "EMNIST/raw/gzip", folder="EMNIST/raw")
    official = OfficialFile("gzip.zip", dataset.md5, dataset.url, (dataset.url,))
    found = [files.fetch(official, name, f"{name}.gz") for name in names]

    def decode() -> Labelled:
        members = (f"gzip/{names[0]}.gz", f"gzip/{names[1]}.gz")
        read = labelled(found[0], found[1], members, classes=tuple(dataset.classes_split_dict[split]))
        upright = np.concatenate(list(read.decoder.blocks())).swapaxes(2, 3)  # the files hold them column by column
        return Labelled(type(read.decoder)(upright.shape, lambda: [upright]), read.labels, read.classes)

    return FileSet(files, found, decode, {"stem": stem, "upright": True})


def _cifar(name: str, open_files: Callable[..., PublicFiles], root: Path | None, part: str) -> FileSet:
    ten = name == "CIFAR10"
    names = [f"{_one_of(name, part, ('train', 'test'))}.bin"]
    if ten:
        names = ["test_batch.bin"] if part == "test" else [f"data_batch_{number}.bin" for number in range(1, 6)]
    python = "cifar-10-batches-py" if ten else "cifar-100-python"
    pickled = next((path for path in (data_root(root) / python, data_root(root) / f"{python}.tar.gz") if path.exists()), None)
    note = "" if pickled is None else f" ({pickled} is the Python version: pickles, which owae never loads)"
    files = open_files(name, root, name, folder="cifar-10-batches-bin" if ten else "cifar-100-binary")
    found = files.fetch(_CIFAR[name], names[0], otherwise=f", as it is or unpacked{note}")
    classes = "batches.meta.txt" if ten else "fine_label_names.txt"
    return FileSet(
        files,
        _beside(found, names),
        lambda: binaries.cifar(found, names, 1 if ten else 2, classes),
        {"names": names},
    )


def _stl10(dataset: Any, open_files: Callable[..., PublicFiles], root: Path | None, part: str, fold: int | None) -> FileSet:
    parts = _one_of("STL10", part, dataset.splits).split("+")
    if fold is not None and fold not in range(10):
        raise ValueError(f"STL10 has no fold {fold}; valid: 0 to 9")
    files = open_files("STL10", root, "STL10", folder=dataset.base_folder)
    official = OfficialFile(dataset.filename, dataset.tgz_md5, "https://cs.stanford.edu/~acoates/stl10/", (dataset.url,))
    found = files.fetch(official, f"{parts[0]}_X.bin", otherwise=", as it is or unpacked")
    fold = fold if part.startswith("train") else None
    names = [f"{one}_{kind}.bin" for one in parts for kind in "Xy" if (one, kind) != ("unlabeled", "y")]
    return FileSet(files, _beside(found, names), lambda: binaries.stl10(found, parts, fold), {"parts": parts, "fold": fold})


def _beside(found: LocalFile, names: Sequence[str]) -> list[LocalFile]:
    """The archive, or all the unpacked files that are wanted, which lie beside each other."""
    if found.path.name == found.official.name:
        return [found]
    return [LocalFile(found.path.with_name(name), found.official) for name in names]
