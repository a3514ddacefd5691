"""`owae encode` and `owae score`: what they write equals what the model computes, whatever the data come in."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run, said

from owae.data.sources import TensorSource, examples
from owae.errors import OwaeError
from owae_report.cli import encode, score
from owae_report.codes.encode import Calibration, code_blocks, score_blocks
from owae_report.codes.own_data import ArrayFile


def read(path):
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = parquet.read_table(path)
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def test_what_a_killed_process_left_of_codes_goes_with_the_next(digits, tmp_path):
    (tmp_path / ".writing-codes.npz.columns").mkdir()
    (tmp_path / ".writing-codes.npz.columns/z1_mean.npy").write_bytes(b"part")
    (tmp_path / ".writing-codes.npz").write_bytes(b"part")
    path = tmp_path / "codes.npz"
    assert run(encode, digits.folder, "test", "-o", path).exit_code == 0
    assert list(tmp_path.iterdir()) == [path]
    assert len(read(path)["z1_mean"]) == len(digits.source("test"))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_codes_are_the_models_by_batches_of_any_size(digits, tmp_path, suffix):
    path = tmp_path / f"new/codes{suffix}"
    result = run(encode, digits.folder, "test", "-o", path, "--batch-size", 5)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    found, test = read(path), digits.source("test")
    codes = digits.model.encode(examples(test))
    for i, z in enumerate(codes, start=1):
        assert np.allclose(found[f"z{i}_mean"], z.detach().numpy(), atol=1e-5)
        assert found[f"z{i}_variance"].shape == z.shape
    q = digits.model.layers[0].encode(examples(test))
    assert np.allclose(found["z1_variance"], q.variance.detach().numpy(), rtol=1e-4)
    assert np.array_equal(found["label"], test.labels)
    assert np.array_equal(found["id"], np.arange(len(test)))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_own_arrays_and_pictures_give_the_codes_of_the_same_pixels(digits, tmp_path):
    test = digits.source("test")
    pixels = (examples(test)[:4, 0] * 255).round().byte().numpy()
    (tmp_path / "pictures").mkdir()
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"pictures/{i}.png")
    np.save(tmp_path / "flat.npy", pixels)
    np.save(tmp_path / "last.npy", pixels[..., None])
    np.savez(tmp_path / "named.npz", images=pixels.astype(np.float32)[:, None] / 255, y=np.arange(4))
    expected = digits.model.encode(torch.from_numpy(pixels)[:, None].float() / 255)[1].detach().numpy()
    np.save(tmp_path / "whole.npy", pixels.astype(np.int64))
    for data in ("pictures", "flat.npy", "last.npy", "named.npz", "whole.npy"):
        assert run(encode, digits.folder, tmp_path / data, "-o", tmp_path / "codes.npz").exit_code == 0
        found = read(tmp_path / "codes.npz")
        assert np.allclose(found["z2_mean"], expected, atol=1e-4), data
        assert found["id"].tolist() == ([f"{i}.png" for i in range(4)] if data == "pictures" else [0, 1, 2, 3])
        assert found["label"].tolist() == ([0, 1, 2, 3] if data == "named.npz" else [-1] * 4)


def test_a_file_that_was_trained_on_has_the_same_codes_as_users_data(trained, tmp_path, caplog):
    numbers = np.random.default_rng(0).normal(100, 40, (60, 8, 8))
    made = trained(tmp_path, images=numbers.astype(np.float32))
    natural = made.natural(examples(made.source("train"))[:, 0]).numpy()
    np.save(tmp_path / "own.npy", natural)
    codes = {}
    for data in ("train", tmp_path / "own.npy"):
        assert run(encode, made.folder, data, "-o", tmp_path / "codes.npz").exit_code == 0
        codes[str(data)] = read(tmp_path / "codes.npz")["z2_mean"]
    assert 30 < natural.std() < 50
    first, second = codes.values()
    assert np.allclose(first, second, atol=1e-4)
    np.save(tmp_path / "own.npy", natural[0] * 9)
    assert run(encode, made.folder, tmp_path / "own.npy", "-o", tmp_path / "codes.npz").exit_code == 0
    assert "are clipped" in caplog.text


@pytest.mark.parametrize(
    ("data", "out", "said_of_it"),
    [
        ("nowhere", "codes.npz", "would work"),
        ("test", "codes.pkl", ".npz, .parquet, .csv would work"),
        ("table.csv", "codes.npz", "was trained on 'arrays': a file of that kind"),
        ("notes.md", "codes.npz", "'.md' is read by nothing here"),
        ("odd.npy", "codes.npz", "examples of the model are (N, 1, 8, 8)"),
        ("whole.npy", "codes.npz", "holds int64 from 0 to 4095"),
        ("floats.npy", "codes.npz", "outside [0.0, 1.0]"),
        ("objects.npy", "codes.npz", "cannot be read as an array"),
        ("cut.npz", "codes.npz", "cannot be read as an array"),
        ("", "codes.npz", "an empty path"),
    ],
)
def test_what_cannot_be_encoded_is_refused_and_nothing_is_left(digits, tmp_path, monkeypatch, data, out, said_of_it):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "notes.md").touch()
    np.save(tmp_path / "odd.npy", np.zeros((3, 7, 9), np.float32))
    np.save(tmp_path / "whole.npy", np.full((3, 8, 8), 4095) * np.eye(8, dtype=np.int64))
    np.save(tmp_path / "floats.npy", np.full((3, 8, 8), 200.0))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = run(encode, digits.folder, data, "-o", out)
    assert isinstance(result.exception, OwaeError)
    assert said_of_it in str(result.exception)
    assert sorted(tmp_path.iterdir()) == before
    assert not said(result)


def test_a_p_value_of_held_out_examples_is_uniform_and_of_odd_ones_small(digits):
    rng = torch.Generator().manual_seed(0)
    model = digits.model
    fresh = TensorSource(torch.rand(400, 1, 8, 8, generator=rng))
    calibration = Calibration.of(model, TensorSource(torch.rand(400, 1, 8, 8, generator=rng)))
    p = np.concatenate([block["p"] for block in score_blocks(model, fresh, calibration, batch_size=70)])
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)
    assert np.mean(p <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert p.min() >= 1 / 401
    odd = TensorSource((torch.rand(30, 1, 8, 8, generator=rng) > 0.5).float())
    assert np.median(next(score_blocks(model, odd, calibration))["p"]) < 0.02


def test_classes_are_named_as_their_folders(digits):
    source = TensorSource(torch.rand(4, 1, 8, 8), torch.tensor([1, 0, -1, 1]))
    source.class_names = ("1", "10")
    for blocks in (code_blocks(digits.model, source), score_blocks(digits.model, source, Calibration.of(digits.model, source))):
        assert next(iter(blocks))["class"].tolist() == ["10", "1", "", "10"]


def test_scores_are_csv_on_stdout(digits):
    result = run(score, digits.folder, "test", "--batch-size", 4)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    test = digits.source("test")
    assert len(rows) == len(test)
    x = examples(test)
    errors = (x - digits.model.reconstruct(x, 1)).square().flatten(1).sum(1)
    assert [float(row["error_z1"]) for row in rows] == pytest.approx(errors.tolist(), rel=1e-4)
    top = digits.model.encode(x)[-1]
    assert [float(row["prior_distance"]) for row in rows] == pytest.approx(top.square().sum(1).tolist(), rel=1e-4)
    assert all(0 < float(row["p"]) <= 1 for row in rows)


def test_labels_of_an_own_array_are_numbered_as_the_run_numbers_classes(tmp_path, caplog):
    x = np.zeros((3, 2), np.float32)

    def opened(y, classes):
        np.savez(tmp_path / "x.npz", x=x, y=y)
        source = ArrayFile(tmp_path / "x.npz", (2,), (0.0, 1.0), None, None, classes)
        return None if source.labels is None else source.labels.tolist(), source.class_names

    assert opened(np.array(["owl", "eel", "cat"]), ["cat", "owl"]) == ([1, -1, 0], ("cat", "owl"))
    assert opened(np.array([[1.0], [0.0], [1.0]]), None) == ([1, 0, 1], None)
    assert opened(np.array([0, 7, 1]), ["cat", "owl"]) == ([0, 7, 1], None)
    assert opened(np.array(["owl", "eel", "cat"]), None) == (None, None)
    assert "its labels, <U3 of shape (3,), are left out" in caplog.text


def test_a_folder_of_folders_is_read_with_their_names(digits, tmp_path):
    for name in ("b/0.png", "a/0.png", "a/.hidden/1.png", "a/notes.txt"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 40).save(tmp_path / "own" / name, format="PNG")
    assert run(encode, digits.folder, tmp_path / "own", "-o", tmp_path / "codes.npz").exit_code == 0
    assert read(tmp_path / "codes.npz")["id"].tolist() == ["a/0.png", "b/0.png"]
    (tmp_path / "none" / "within").mkdir(parents=True)
    assert "nor do folders within it" in str(run(encode, digits.folder, tmp_path / "none", "-o", tmp_path / "codes.npz").exception)
