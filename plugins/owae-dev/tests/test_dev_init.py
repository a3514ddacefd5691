"""`owae init`: what it writes for data of every kind trains; what cannot be trained on is said and nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import arrays, cells, fashion, few_numbers, lists, pictures, pictures_in_parquet, plates, series, table, tars
from PIL import Image

from owae import Config, Registry
from owae.data.sources import TensorSource
from owae.errors import ConfigError, DataError, OwaeError
from owae.run.train import train
from owae_data.tables import files
from owae_data.tables.text import read_text
from owae_dev.init.facts import Facts
from owae_dev.init.opening import opened
from owae_dev.init.places import find
from owae_dev.init.recipe import batch_size, recipe
from owae_dev.init.write import write

SHORT, PHASES = ["train.epochs=1", "train.log_every=1"], ("refine", "bottom")


@pytest.fixture(scope="module")
def registry():
    """Without the plugin that draws, which takes its time."""
    return Registry.discover(["owae-layers", "owae-mmd", "owae-data", "owae-costs", "owae-refine", "owae-anndata"])


# What is made, the shape of an example, the dimensions of codes, and words of the comment.
MADE: list[tuple[Callable[[Path], Path], tuple[int, ...], list[int], tuple[str, ...]]] = [
    (series, (128,), [32, 16, 8, 4, 2], ("rescale = false", "as in series")),
    (arrays, (3, 20, 20), [64, 16, 8, 4, 2], ("3 classes", "convolutions")),
    (pictures, (3, 16, 16), [32, 16, 8, 4, 2], ("41 pictures; other files: 1", "skip_broken", "2 classes")),
    (few_numbers, (3,), [2], ("linear",)),
    (fashion, (1, 28, 28), [32, 16, 8, 4, 2], ('name = "FashionMNIST"', 'root = "sets"', "10 classes")),
    (table, (30,), [8, 4, 2], ("standardise = true", "2 classes")),
    (pictures_in_parquet, (1, 17, 16), [32, 16, 8, 4, 2], ("a table in parts", "several sizes")),
    (plates, (4, 12, 16), [32, 16, 8, 4, 2], ("30 pictures", "one size, 12×16", "source_range = [0, 4095]")),
    (tars, (1, 24, 20), [32, 16, 8, 4, 2], ("2 files: pictures in tar files", "several sizes", "skip_broken", "2 classes")),
    (lists, (32,), [16, 8, 4, 2], ("standardise = true", "2 classes")),
    (cells, (30,), [8, 4, 2], ("normalise = true", "3 classes")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "shape", "dims", "words"), MADE, ids=[each[0].__name__ for each in MADE])
def test_what_is_written_trains(make, shape, dims, words, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    place = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "kept"))
    path = write(str(place), registry)
    text = path.read_text()
    assert path == Path(f"{place.stem}.toml")
    assert str(tmp_path) not in text.partition("[data]")[2]  # the data lie beside the config, so both can be moved
    assert all(word in text for word in words)
    config = Config.load(path, registry, [*SHORT, *(f"{phase}.epochs=1" for phase in PHASES if f"[{phase}]" in text)])
    run = train(config, registry)
    assert tuple(run.model.layers[0].in_shape) == shape
    assert [layer.latent_shape for layer in run.model.layers] == [(dim,) for dim in dims]
    assert run.model.sample(3).isfinite().all()


def test_it_says_what_it_found_and_overwrites_nothing(tmp_path: Path, registry: Registry, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    place = few_numbers(tmp_path)
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"mine\.toml exists and is left as it is; --force"):
        write(str(place), registry, out=out)
    assert out.read_text() == "mine"
    assert write(str(place), registry, out=out, force=True, changes=["train.epochs=7", "data.holdout=0.5"]) == out
    assert "found: 25 examples to train on, 25 held out, 3 in" in caplog.text
    assert "about" in caplog.text.partition("expected: ")[2]
    config = Config.load(out, registry)
    assert config.train.epochs == 7
    assert config.data.values["holdout"] == 0.5


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((30, 4), np.nan), "not finite, the first of them example 0"),
        (np.ones((30, 4)), "all examples are alike"),
        (np.zeros((30, 2, 2, 2, 2)), "wanted is"),
    ],
)
def test_what_cannot_be_learnt_from_is_said_and_nothing_is_written(array, words, tmp_path: Path, registry: Registry):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(OwaeError, match=words):
        write(str(tmp_path / "x.npy"), registry, out=tmp_path / "x.toml")
    assert not (tmp_path / "x.toml").exists()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("digit", "did you mean 'digits'"),
        ("FashonMNIST", "did you mean 'FashionMNIST'"),
        ("arrays", "needs path"),
        ("empty", "holds nothing"),
        ("empty/a.toml", "is a config already"),
        ("empty/a.docx", "'.docx' is read by no source"),
    ],
)
def test_a_place_without_data_is_refused(place, words, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("empty")
    folder.mkdir()
    if "." in place:
        Path(place).touch()
    with pytest.raises(OwaeError, match=words):
        write(place, registry)


@pytest.mark.parametrize(
    ("high", "kind", "settled"), [(4096, "png", [0, 4095]), (65536, "png", None), (256, "npy", None), (4096, "npy", [0, 4095])]
)
def test_a_part_of_16_bits_is_settled_and_bytes_stay_bytes(high, kind, settled, tmp_path: Path, registry: Registry):
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, high, (8, 8)).astype(np.uint8 if high == 256 else np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png") if kind == "png" else np.save(tmp_path / f"{i}.npy", pixels)
    data, train, _, _ = opened(find(str(tmp_path), registry), registry, [])
    assert data.get("source_range") == settled
    assert (train.batch(torch.arange(1)).dtype == torch.uint8) is (settled is None and (kind == "png" or high == 256))


def test_classes_of_a_table_are_found_and_fractions_are_none(tmp_path: Path, registry: Registry):
    rng, path = np.random.default_rng(0), tmp_path / "t.csv"

    def settled(head: str, end: Callable[[int], object]) -> tuple[dict, str]:
        path.write_text("\n".join([head, *(f"{rng.normal()},{i},{end(i)}" for i in range(40))]))
        data, _, _, said = opened(find(str(path), registry), registry, [])
        return data, "\n".join(said)

    data, said = settled("x,n,species", lambda i: ["iris", "rose"][i % 2])
    assert (data["label"], "'species', whose 2 texts repeat, is taken for the classes" in said) == ("species", True)
    data, said = settled("x,n,target", lambda i: i / 7)
    assert data["label"] is False
    assert "no classes are read (label = false)" in said
    assert "label" not in settled("x,n,name", lambda i: f"plant {i}")[0]
    assert "label" not in settled("x,n,day", lambda i: f"2024-01-{i % 9 + 1:02}")[0]


def test_all_questions_to_a_table_read_it_once(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    path, reads = tmp_path / "weights.csv", []
    path.write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(40)))
    monkeypatch.setattr(files, "read_text", lambda path: reads.append(path) or read_text(path))
    data, train, _, _ = opened(find(str(path), registry), registry, [])
    assert data["standardise"]
    assert train.shape == (2,)
    assert reads == [path] * 3  # once for the answers, and once for each split that is kept


@pytest.mark.parametrize("pattern", ["x-*.tar", "x-{0..1}.tar"])
def test_a_pattern_of_tar_files_is_found(pattern, tmp_path: Path, registry: Registry):
    for i in range(2):
        (tmp_path / f"x-{i}.tar").touch()
    assert find(str(tmp_path / pattern), registry).data == {"kind": "shards", "path": str(tmp_path / pattern)}
    (tmp_path / "x-2.csv").touch()
    with pytest.raises(DataError, match=r"fits x-2\.csv too|fits x-1\.tar too"):
        find(str(tmp_path / "x-*"), registry)


@pytest.mark.parametrize(("size", "drawn"), [(765, True), (5000, False)])
def test_noise_of_vectors_is_drawn_too(size: int, drawn: bool):
    source = TensorSource(torch.zeros(630, size), None, (-2.0, 28.0))
    refine = recipe(Facts(source, source, 9, 0.0, 1.0, float(size), 0, 0.0, 0, 0)).values["refine"]
    assert refine.get("levels") == ([1, 2, 3, 4, 5] if drawn else None)  # without the first, samples of genes are all means


def test_choices_follow_the_data_size(registry: Registry):
    source = registry.create("data", "digits", "train")
    small, large = (recipe(Facts(source, source, 9, 0.0, 1.0, variance, 0, 0.0, 0, 0)).values for variance in (5.3, 5300.0))
    assert (small["weights"]["match"], large["weights"]["match"]) == (0.1, 100.0)
    assert all(-count % batch_size(count) < 0.15 * batch_size(count) for count in (*range(100, 400), *range(1000, 1300)))
