"""Small data sets in the true formats of the public ones, drawn at random, for tests and trial runs without a network.

    python -m owae_data.samples FOLDER

writes all of them into a data folder, as the sources' option `root` and `OWAE_DATA` name it. Sources read them with `verify = false`.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Images = UInt8[np.ndarray, "..."]


def write_idx(path: Path, array: np.ndarray) -> None:
    """An array of bytes, or of whole numbers of 32 bits, in the IDX format, packed where the name ends so."""
    kind, stored = (8, array) if array.dtype == np.uint8 else (12, array.astype(">i4"))
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + stored.tobytes()
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)(data))


def write_mnist(
    folder: Path, *, train: int = 30, test: int = 10, packed: bool = True, seed: int = 0
) -> dict[str, tuple[Images, Images]]:
    """The four IDX files of MNIST, and of the sets made after it. Returns images (N, 28, 28) and labels (N,) by split."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for split, stem, count in (("train", "train", train), ("test", "t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            write_idx(folder / (f"{name}.gz" if packed else name), array)
        made[split] = images, labels
    return made


def write_svhn(
    folder: Path, *, train: int = 20, extra: int = 30, test: int = 10, seed: int = 0
) -> dict[str, tuple[Images, Images]]:
    """The three `.mat` files of SVHN. Returns images (N, 3, 32, 32) and digits (N,) by part."""
    from scipy.io import savemat

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for part, count in (("train", train), ("extra", extra), ("test", test)):
        images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        digits = (np.arange(count) % 10).astype(np.uint8)
        stored = np.where(digits == 0, 10, digits).astype(np.uint8)  # as in the true files
        savemat(folder / f"{part}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": stored[:, None]}, do_compression=True)
        made[part] = images, digits
    return made


def write_celeba(
    folder: Path, *, train: int = 16, valid: int = 4, test: int = 6, archive: bool = True, lists: bool = True, seed: int = 0
) -> list[str]:
    """The pictures of CelebA, 218 high and 178 wide: each of one colour in the middle 140x140 and black around.

    Args:
        folder: Where to write.
        train: Pictures for training; the others likewise.
        valid: For validation.
        test: For testing.
        archive: Whether to write the archive `img_align_celeba.zip`, or else the folder `img_align_celeba`.
        lists: Whether to write the partition and the attributes "Smiling" (each other picture) and "Young" (all).
        seed: Of the colours.

    Returns:
        The pictures' names.
    """
    rng = np.random.default_rng(seed)
    parts = [0] * train + [1] * valid + [2] * test
    names = [f"{number:06}.jpg" for number in range(1, len(parts) + 1)]
    pictures = folder / "img_align_celeba"
    pictures.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[39:179, 19:159] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(pictures / name, quality=95)
    if archive:
        with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as file:
            for name in names:
                file.write(pictures / name, f"img_align_celeba/{name}")
                (pictures / name).unlink()
        pictures.rmdir()
    if lists:
        partition = "".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True))
        (folder / "list_eval_partition.txt").write_text(partition)
        rows = "".join(f"{name} {1 if number % 2 else -1:2d}  1\n" for number, name in enumerate(names))
        (folder / "list_attr_celeba.txt").write_text(f"{len(names)}\nSmiling Young \n{rows}")
    return names


def write_all(folder: Path) -> None:
    """All of them into a data folder, in the places that downloads go to; enough of each to test on for every figure."""
    write_mnist(folder / "mnist", test=24)
    write_svhn(folder / "svhn", test=24)
    write_celeba(folder / "celeba", test=24)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m owae_data.samples", description="Write small random MNIST, SVHN and CelebA.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the data folder to write into")
    folder = parser.parse_args().folder
    try:
        write_all(folder)
    except OSError as error:
        parser.error(f"{folder} cannot be written to: {error}; name a folder that can")
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
