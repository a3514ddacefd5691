"""Small data of every kind that `owae init` looks at, each written into a folder."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import tifffile
from PIL import Image
from pyarrow import parquet


def series(folder: Path) -> Path:
    time, rng = np.linspace(0, 4 * np.pi, 128), np.random.default_rng(0)
    waves = np.sin(time + rng.uniform(0, 6, (60, 1))) + 0.1 * rng.standard_normal((60, 128))
    np.save(folder / "series.npy", waves.astype(np.float32))
    return folder / "series.npy"


def arrays(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(folder / "rgb.npz", x=rng.integers(0, 256, (60, 20, 20, 3), dtype=np.uint8), y=np.arange(60) % 3)
    return folder / "rgb.npz"


def pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / "faces" / ("cats" if i % 2 else "dogs") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12 + i % 8, 14, 3), dtype=np.uint8)).save(path)
    (folder / "faces" / "cats" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13))
    (folder / "faces" / "notes.txt").write_text("not a picture")
    return folder / "faces"


def fashion(folder: Path) -> Path:
    """FashionMNIST as torchvision leaves it, but small."""
    rng, raw = np.random.default_rng(0), folder / "sets" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 20)):
        images, labels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4B3i", 0, 0, 8, 3, *images.shape) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4Bi", 0, 0, 8, 1, count) + labels.tobytes())
    return folder / "sets" / "FashionMNIST"


def cells(folder: Path) -> Path:
    import anndata

    counts = np.random.default_rng(0).poisson(2.0, (60, 30)).astype(np.float32)
    anndata.AnnData(counts, {"cell_type": [f"type {i % 3}" for i in range(60)]}).write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


def table(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 30)) * 10.0 ** rng.integers(-2, 4, 30)
    lines = [",".join([*map(str, row), "ab"[i % 2]]) for i, row in enumerate(rows.tolist())]
    (folder / "tumours.csv").write_text("\n".join([",".join([*(f"x{k}" for k in range(30)), "label"]), *lines]))
    return folder / "tumours.csv"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pictures_in_parquet(folder: Path) -> Path:
    """Pictures of two sizes as the Hugging Face hub stores them, in shards."""
    rng, rows = np.random.default_rng(0), []
    for i in range(40):
        rows.append({"bytes": png(rng.integers(0, 256, (16 + (i > 9), 16), dtype=np.uint8)), "path": None})
    (folder / "hub").mkdir()
    for part in range(2):
        parquet.write_table(pyarrow.table({"image": rows[part::2]}), folder / "hub" / f"part-{part}.parquet")
    return folder / "hub"


def plates(folder: Path) -> Path:
    (folder / "plates").mkdir()
    for i in range(30):
        image = np.random.default_rng(i).integers(0, 4096, (4, 12, 16), dtype=np.uint16)
        tifffile.imwrite(folder / "plates" / f"{i}.tif", image, photometric="minisblack", planarconfig="separate")
    return folder / "plates"


def tars(folder: Path) -> Path:
    """Pictures of two sizes as webdataset writes them, one of them broken."""
    (folder / "tars").mkdir()
    for part in range(2):
        with tarfile.open(folder / "tars" / f"part-{part}.tar", "w") as tar:
            for i in range(25):
                image = np.random.default_rng(i).integers(0, 256, (24 + (i > 20), 20), dtype=np.uint8)
                add(tar, f"{i}.png", png(image) if i or part else b"\x89PNG\r\n\x1a\n")
                add(tar, f"{i}.cls", b"%d" % (i % 2))
    return folder / "tars"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def lists(folder: Path) -> Path:
    """Series as the lists of a Parquet column, beside an identifier and the classes."""
    waves = np.random.default_rng(0).standard_normal((60, 32)).cumsum(1)
    parquet.write_table(
        pyarrow.table({"id": range(60), "ecg": waves.tolist(), "label": ["ab"[i % 2] for i in range(60)]}), folder / "ecg.parquet"
    )
    return folder / "ecg.parquet"


def few_numbers(folder: Path) -> Path:
    np.save(folder / "three.npy", np.random.default_rng(0).standard_normal((50, 3)))
    return folder / "three.npy"
