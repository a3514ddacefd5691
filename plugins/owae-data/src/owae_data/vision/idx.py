"""Reads the IDX format, in which MNIST and the sets that were made after it are published."""

from __future__ import annotations

import gzip
import lzma
import zipfile
import zlib
from contextlib import ExitStack

import numpy as np

from owae_data.cache import Decoder
from owae_data.public_files import Labelled, LocalFile

_DTYPES = {8: np.dtype("u1"), 12: np.dtype(">i4")}  # by their number in the format


def read_idx(local: LocalFile, axes: int, member: str | None = None) -> np.ndarray:
    """Reads an IDX file, plain or packed (`.gz`, `.xz`): two zero bytes, the dtype, the number of axes, their lengths, the entries.

    Args:
        local: The file.
        axes: How many axes it must have.
        member: Its name in a zip archive, where the file is one.

    Returns:
        Bytes, or whole numbers of 32 bits.

    Raises:
        DataError: It is no such file, or is damaged.
    """
    try:
        data = _unpacked(local, member)
        if data[:2] != b"\0\0" or data[3:4] != bytes([axes]) or data[2] not in _DTYPES:
            raise ValueError(f"does not begin like an IDX file of whole numbers with {axes} axes")
        lengths = np.frombuffer(data, ">i4", axes, 4)
        entries = np.frombuffer(data, _DTYPES[data[2]], offset=4 + 4 * axes).reshape(lengths)
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise local.error(f"cannot be read ({error})") from error
    return entries


def _unpacked(local: LocalFile, member: str | None) -> bytearray:
    with ExitStack() as stack:
        file = stack.enter_context(local.path.open("rb"))
        suffix = local.path.suffix
        if suffix == ".zip" and member is not None:
            file = stack.enter_context(stack.enter_context(zipfile.ZipFile(file)).open(member))
            suffix = member[-3:]
        if suffix in (".gz", ".xz"):
            file = stack.enter_context((gzip if suffix == ".gz" else lzma).open(file))
        return bytearray(file.read())  # torch wants memory that it may write to


def labelled(
    images: LocalFile,
    labels: LocalFile,
    members: tuple[str | None, str | None] = (None, None),
    classes: tuple[str, ...] | None = None,
    rows: slice = slice(None),
) -> Labelled:
    """Reads a file of images and the file of their classes.

    Args:
        images: Bytes, (N, H, W).
        labels: One number an image, or a row of numbers, whose first is the class.
        members: Names of the two in a zip archive, where they are in one.
        classes: Names of the classes.
        rows: The part that is wanted.

    Raises:
        DataError: One cannot be read, or they do not belong together.
    """
    pixels = read_idx(images, 3, members[0])
    numbers = read_idx(labels, 2 if "idx2" in labels.path.name else 1, members[1])
    if pixels.dtype != np.uint8:
        raise images.error(f"cannot be read (it holds {pixels.dtype}, not the bytes of images)")
    if len(numbers) != len(pixels):
        raise labels.error(f"has {len(numbers)} labels for the {len(pixels)} images in {images.path}")
    first = numbers if numbers.ndim == 1 else numbers[:, 0]
    if first.size and (first.min() < -1 or (classes is not None and first.max() >= len(classes))):
        known = "-1, for none, and up" if classes is None else f"0 to {len(classes) - 1}, or -1 for none"
        raise labels.error(f"holds classes from {first.min()} to {first.max()}, where {known} would work")
    pixels, numbers = pixels[rows], first[rows]
    return Labelled(Decoder((len(pixels), 1, *pixels.shape[1:]), lambda: [pixels[:, None]]), numbers.astype(np.int64), classes)
