"""What every data source of this plugin keeps, over a table of sources on small files in their true formats."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pyarrow
import pytest
import tifffile
import torch
from PIL import Image
from pyarrow import csv, parquet

from owae import DataSource, Registry
from owae.data.loader import Loader
from owae.registry.options import options_model, validated
from owae.testing import check_source
from owae_data import owae_components
from owae_data.arrays import Arrays
from owae_data.base import StoredSource
from owae_data.celeba import CelebA
from owae_data.image_folder import ImageFolder
from owae_data.mnist import Mnist
from owae_data.samples import write_celeba, write_mnist, write_svhn
from owae_data.shards.source import Shards
from owae_data.shipped import Digits, Mnist5k
from owae_data.svhn import Svhn
from owae_data.tables.hub import Hub
from owae_data.tables.source import Table
from owae_data.vision.source import Torchvision

REVISION = "0" * 40

Case = Callable[[Path], tuple[Any, dict[str, Any]]]


def _random(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _folder(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    for number, pixels in enumerate(_random(12, 45, 33, 3)):
        (tmp_path / "cats" if number % 3 else tmp_path / "dogs").mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels).save(tmp_path / ("cats" if number % 3 else "dogs") / f"{number}.png")
    return ImageFolder, {"path": tmp_path, "value_range": (-1.0, 1.0)}


def _bytes(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    np.save(tmp_path / "x.npy", _random(30, 5, 7))
    return Arrays, {"path": tmp_path / "x.npy"}


def _floats(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(30, 5, 7, 3)), y=rng.integers(0, 4, 30))
    return Arrays, {"path": tmp_path / "x.npz"}


def _pairs(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    images = _random(30, 6)
    np.savez(tmp_path / "x.npz", x_train=images[:20], y_train=np.arange(20), x_test=images[20:], y_test=np.arange(10))
    return Arrays, {"path": tmp_path / "x.npz"}


def _mnist(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    write_mnist(tmp_path)
    return Mnist, {"root": tmp_path, "verify": False}


def _svhn(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    write_svhn(tmp_path / "svhn")
    return Svhn, {"root": tmp_path, "verify": False, "parts": "both", "value_range": (-1.0, 1.0)}


def _celeba(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    write_celeba(tmp_path / "celeba")
    return CelebA, {"root": tmp_path, "verify": False, "attribute": "Smiling"}


def _fashion(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    return Torchvision, {"name": "FashionMNIST", "root": tmp_path, "verify": False, "size": (14, 14)}


def _eurosat(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    folder, _ = tmp_path / "eurosat" / "2750", _folder(tmp_path / "eurosat")
    folder.mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "eurosat" / name).rename(folder / name)
    return Torchvision, {"name": "EuroSAT", "root": tmp_path, "download": False}


def _table(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(0)
    csv.write_csv(pyarrow.table({"a": rng.normal(size=30), "b": rng.normal(size=30), "kind": ["x", "y"] * 15}), tmp_path / "t.csv")
    return Table, {"path": tmp_path / "t.csv", "label": "kind", "standardise": True}


def _picture_table(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    _folder(tmp_path)
    pictures = [path.read_bytes() for path in sorted(tmp_path.glob("*/*.png"))]
    parquet.write_table(pyarrow.table({"p": pictures}), tmp_path / "t.parquet", row_group_size=5)
    return Table, {"path": tmp_path / "t.parquet", "image": "p", "size": (8, 8)}


def _tars(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    _folder(tmp_path)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for path in sorted(tmp_path.glob("*/*.png")):
            tar.add(path, path.name)
    return Shards, {"path": tmp_path / "x.tar"}


def _tiffs(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    for number, pixels in enumerate(_random(12, 4, 9, 8)):
        tifffile.imwrite(
            tmp_path / f"{number}.tif", 16 * pixels.astype(np.uint16), photometric="minisblack", planarconfig="separate"
        )
    return ImageFolder, {"path": tmp_path, "source_range": (0.0, 4095.0)}


def _npy_folder(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    for number, pixels in enumerate(_random(12, 9, 8)):
        np.save(tmp_path / f"{number}.npy", pixels / 100)
    return ImageFolder, {"path": tmp_path}


def _series(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    parquet.write_table(pyarrow.table({"s": np.random.default_rng(0).normal(size=(30, 6)).tolist()}), tmp_path / "t.parquet")
    return Table, {"path": tmp_path / "t.parquet"}


def _hub(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    """A set of the hub's, as it lies in its cache."""
    kept = tmp_path / "datasets--somebody--numbers"
    (kept / "snapshots" / REVISION).mkdir(parents=True)
    table = pyarrow.table({"x": np.random.default_rng(0).normal(size=30), "label": [0, 1] * 15})
    parquet.write_table(table, kept / "snapshots" / REVISION / "train.parquet")
    return Hub, {"name": "somebody/numbers", "revision": REVISION}


CASES: dict[str, Case] = {
    "digits": lambda _: (Digits, {}),
    "mnist-5k": lambda _: (Mnist5k, {"value_range": (-1.0, 1.0)}),
    "image-folder": _folder,
    "arrays of bytes": _bytes,
    "arrays of floats": _floats,
    "arrays in two splits": _pairs,
    "mnist": _mnist,
    "svhn": _svhn,
    "celeba": _celeba,
    "table of numbers": _table,
    "table of pictures": _picture_table,
    "table of series": _series,
    "hub": _hub,
    "shards": _tars,
    "image-folder of TIFF": _tiffs,
    "image-folder of arrays": _npy_folder,
    "torchvision's, read by owae": _fashion,
    "torchvision's, opened by its class": _eurosat,
}


@pytest.fixture(autouse=True)
def hub_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own look into its cache, without a network."""
    look = partial(huggingface_hub.snapshot_download, cache_dir=tmp_path, local_files_only=True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", look)


@pytest.fixture(params=CASES)
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DataSource]:
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "store"))
    cls, options = CASES[request.param](tmp_path)
    return lambda split: cls(split, **options)


@pytest.fixture
def sources(make: Callable[[str], DataSource]) -> dict[str, DataSource]:
    return {split: make(split) for split in ("train", "test")}


def _all(source: DataSource) -> torch.Tensor:
    return source.batch(torch.arange(len(source)))


def test_a_batch_is_its_examples_in_order(sources: dict[str, DataSource]) -> None:
    source = sources["train"]
    indices = torch.tensor([3, 0, -1, 3, len(source) - 1])
    assert torch.equal(source.batch(indices), torch.stack([source[int(index)] for index in indices]))
    assert torch.equal(source.batch(indices[:0]), torch.empty(0, *source.shape, dtype=source[0].dtype))


def test_indices_behave_as_in_a_list(sources: dict[str, DataSource]) -> None:
    source = sources["test"]
    assert torch.equal(source[-1], source[len(source) - 1])
    assert torch.equal(source[-len(source)], source[0])
    for index in (len(source), -len(source) - 1):
        with pytest.raises(IndexError):
            source[index]
    assert len(list(source)) == len(source)  # pyright: ignore[reportArgumentType] # the old iteration protocol


def test_writing_to_an_example_leaves_the_source_alone(sources: dict[str, DataSource]) -> None:
    source = sources["train"]
    before = _all(source)
    source[0].zero_()
    source.batch(torch.tensor([0, 1])).zero_()
    assert torch.equal(_all(source), before)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=[pytest.mark.slow] if name == "image-folder" else []) for name, case in CASES.items()],
)
def test_the_contract_is_kept_and_nothing_printed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "store"))
    cls, options = case(tmp_path)
    check_source(cls, **options)
    assert "examples of shape" in repr(cls("test", **options))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_options_come_from_a_config(case: Case, tmp_path: Path) -> None:
    cls, options = case(tmp_path)
    values = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    model, problems = validated(options_model(cls), values)
    assert not problems
    assert {name: getattr(model, name) for name in options} == options
    _, problems = validated(options_model(cls), {**values, "value_range": [1, 0]})
    assert "below the second" in problems[0].message


def test_every_source_is_registered_without_complaint() -> None:
    registry = Registry.discover(["owae-data"])
    assert not registry.failures
    assert {cls.name for cls in owae_components()} == set(registry.names("data"))


def test_no_source_is_left_out_of_the_cases(tmp_path: Path) -> None:
    made = []
    for number, case in enumerate(CASES.values()):
        (tmp_path / str(number)).mkdir()
        made.append(case(tmp_path / str(number))[0])
    assert set(owae_components()) == set(made)


def test_a_source_survives_the_way_to_a_worker(sources: dict[str, DataSource], worker: ProcessPoolExecutor) -> None:
    source = sources["test"]
    there = worker.submit(methodcaller("batch", torch.arange(len(source))), source).result(timeout=900)
    assert torch.equal(there, _all(source))


def test_a_source_made_anew_goes_on_with_the_same_batches(make: Callable[[str], DataSource]) -> None:
    first = list(Loader(make("train"), 3, seed=5).epoch(2))
    rest = list(Loader(make("train"), 3, seed=5).epoch(2, start=1))
    assert len(rest) == len(first) - 1
    assert all(torch.equal(one, other) for one, other in zip(first[1:], rest, strict=True))


def test_every_example_counts_where_all_are_few_and_some_where_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(1000, dtype=torch.float32)[:, None]
    y = x.clone()
    y[501] += 1
    one, same, other = (StoredSource(examples) for examples in (x, x.clone(), y))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert StoredSource(x, rows=torch.arange(500)).fingerprint() == StoredSource(y, rows=torch.arange(500)).fingerprint()
    monkeypatch.setattr("owae_data.base.HASHED", 0)
    assert one.fingerprint() == same.fingerprint() != StoredSource(x + 1).fingerprint()
