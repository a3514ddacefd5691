"""Reads the plain binary versions of CIFAR and STL10, in their archives or unpacked. The Python versions are pickles, and not loaded.

- CIFAR-10 (Krizhevsky, 2009): records of one byte, the class, and 3072 bytes of a picture, (3, 32, 32). CIFAR-100 has two bytes before
  them, of which the second is the class.
- STL-10 (Coates, Ng and Lee, 2011): pictures (3, 96, 96) with each channel's columns one after the other; classes from 1 on in a
  file of their own.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from owae_data.cache import Block, Decoder
from owae_data.public_files import Labelled, LocalFile

RUN = 4096  # pictures read at a time

_DAMAGE = (OSError, EOFError, ValueError, zlib.error, tarfile.TarError)


@contextmanager
def _member(local: LocalFile, name: str) -> Iterator[tuple[Any, int]]:
    """Opens a file of a set, and tells its size: out of the archive that was found, or beside the file that was found."""
    if not local.path.name.endswith(".tar.gz"):
        path = local.path.with_name(name)
        with path.open("rb") as file:
            yield file, path.stat().st_size
        return
    with tarfile.open(local.path) as archive:
        for member in archive:
            if member.isfile() and member.name.rsplit("/", 1)[-1] == name:
                yield archive.extractfile(member), member.size
                return
    raise ValueError(f"has no {name} in it")


def _bytes(local: LocalFile, name: str) -> bytes:
    with _member(local, name) as (file, _):
        return file.read()


def _classes(local: LocalFile, name: str) -> tuple[str, ...] | None:
    """The lines of a list of names; None where there is none."""
    try:
        return tuple(line.strip() for line in _bytes(local, name).decode().splitlines() if line.strip())
    except _DAMAGE:
        return None


def cifar(local: LocalFile, names: Sequence[str], first: int, names_of_classes: str) -> Labelled:
    """Reads files of CIFAR, one after the other.

    Args:
        local: The archive, or one of its files.
        names: The files that are wanted.
        first: How many bytes stand before a picture; the last of them is its class.
        names_of_classes: The file that has the names of the classes.

    Raises:
        DataError: A file is missing or damaged.
    """
    length = first + 3072
    try:
        data = [np.frombuffer(_bytes(local, name), np.uint8) for name in names]
        odd = [f"{name} has {len(one)} bytes" for name, one in zip(names, data, strict=True) if not len(one) or len(one) % length]
        if odd:
            raise ValueError(f"{', '.join(odd)}; a multiple of {length} is wanted")
    except _DAMAGE as error:
        raise local.error(f"cannot be read ({error})") from error
    records = np.concatenate(data).reshape(-1, length)
    images, labels = records[:, first:].reshape(-1, 3, 32, 32), records[:, first - 1]
    if labels.max() >= (classes := {1: 10, 2: 100}[first]):
        raise local.error(f"has a picture of class {labels.max()}; classes are numbered from 0 to {classes - 1}")
    return Labelled(Decoder(images.shape, lambda: [images]), labels.astype(np.int64), _classes(local, names_of_classes))


def stl10(local: LocalFile, parts: Sequence[str], fold: int | None = None) -> Labelled:
    """Reads parts of STL-10, "train", "test" or "unlabeled", one after the other.

    Args:
        local: The archive, or one of its files.
        parts: Which.
        fold: Of the first part, the one tenth of this number, as the set's makers drew them; None for all.

    Raises:
        DataError: A file is missing or damaged.
    """
    size = 3 * 96 * 96
    try:
        counts, labels = [], []
        for part in parts:
            with _member(local, f"{part}_X.bin") as (_, length):
                if not length or length % size:
                    raise ValueError(f"{part}_X.bin has {length} bytes; a multiple of {size} is wanted")
                counts.append(length // size)
            given = np.zeros(0, np.uint8) if part == "unlabeled" else np.frombuffer(_bytes(local, f"{part}_y.bin"), np.uint8)
            if part != "unlabeled" and len(given) != counts[-1]:
                raise ValueError(f"{part}_y.bin has {len(given)} labels for {counts[-1]} pictures")
            if len(given) and not 1 <= given.min() <= given.max() <= 10:
                raise ValueError(f"{part}_y.bin has labels from {given.min()} to {given.max()}; 1 to 10 are wanted")
            labels.append(given.astype(np.int64) - 1 if len(given) else np.full(counts[-1], -1))
        rows = None if fold is None else np.array(_bytes(local, "fold_indices.txt").decode().splitlines()[fold].split(), int)
    except (*_DAMAGE, IndexError) as error:
        raise local.error(f"cannot be read ({error})") from error

    def blocks() -> Iterator[Block]:
        for index, part in enumerate(parts):
            kept = rows if index == 0 else None
            with _member(local, f"{part}_X.bin") as (file, _):
                for at in range(0, counts[index], RUN):
                    count = min(RUN, counts[index] - at)
                    block = np.frombuffer(file.read(count * size), np.uint8).reshape(count, 3, 96, 96).swapaxes(2, 3)
                    yield block if kept is None else block[kept[(kept >= at) & (kept < at + count)] - at]

    if rows is not None:  # in the order of the file, as they are read
        rows = np.sort(rows)
        labels[0] = labels[0][rows]
    numbers = np.concatenate(labels)
    return Labelled(Decoder((len(numbers), 3, 96, 96), blocks), numbers, _classes(local, "class_names.txt"))
