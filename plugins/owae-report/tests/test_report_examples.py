"""Which examples are shown, and how a user's own image files become some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from owae.errors import DataError
from owae_report.load import load_images
from owae_report.pixels import to_pixels
from owae_report.representatives import representative


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "length"), [(1, 1), (2, 3), (10, 10), (7, 1000), (10, 4), (3, 0)])
def test_examples_are_chosen_from_equal_stretches(n, length, seed):
    chosen = representative(n, length, None, seed)
    n = min(n, length)
    assert len(chosen) == n
    for i, place in enumerate(chosen.tolist()):
        assert i * length // n <= place < (i + 1) * length // n


def test_examples_without_a_class_come_last():
    labels = torch.tensor([-1] * 50 + [1] * 3 + [0] * 2)
    assert labels[representative(7, len(labels), labels)].tolist() == [0, 0, 1, 1, 1, -1, -1]
    nowhere = torch.full((9,), -1)
    assert torch.equal(representative(3, 9, nowhere), representative(3, 9))


@pytest.mark.parametrize("seed", range(5))
def test_examples_are_chosen_from_every_class(seed):
    labels = torch.tensor([5] * 50 + [3] * 40 + [9] * 2 + [7] * 30)
    chosen = labels[representative(12, len(labels), labels, seed)]
    assert chosen.tolist() == sorted(chosen.tolist())
    counts = {label: (chosen == label).sum().item() for label in (3, 5, 7, 9)}
    assert counts[9] == 2
    assert all(counts[label] in (3, 4) for label in (3, 5, 7))
    assert len(set(representative(999, len(labels), labels, seed).tolist())) == len(labels)


def test_the_seed_chooses_other_examples_and_other_classes():
    labels = torch.arange(100) // 2
    drawn = {tuple(representative(5, 100, labels, seed).tolist()) for seed in range(4)}
    assert len(drawn) == 4
    assert any(label > 25 for places in drawn for label in labels[list(places)].tolist())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "b.png")
    Image.fromarray(colours[..., 0]).save(tmp_path / "a.png")
    Image.fromarray(colours).convert("RGBA").save(tmp_path / "c.png")
    Image.fromarray(colours[..., 0].astype(np.uint16) * 257).save(tmp_path / "d.png")
    Image.fromarray(colours).quantize(16).save(tmp_path / "e.png")
    (tmp_path / ".hidden.png").write_text("")
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize("shape", [(1, 6, 5), (6, 5), (3, 6, 5), (4, 6, 5)])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_image_files_of_every_mode_fit_every_model(folder, shape, value_range):
    x = load_images([folder], shape, value_range)
    assert x.shape == (5, *shape)
    assert x.dtype == torch.float32
    first = pixels_of(folder / "a.png")
    grey = to_pixels(x[[0, 3]], value_range)
    assert np.array_equal(grey[0] if grey.ndim == 3 else grey[0, ..., 0], first)
    assert np.array_equal(grey[0], grey[1])


def test_another_size_is_resized_and_said(folder, caplog):
    assert load_images([folder / "a.png"], (1, 8, 8), (0.0, 1.0)).shape == (1, 1, 8, 8)
    assert "is 6x5 (height x width) and was resized to the model's 8x8" in caplog.text


@pytest.mark.parametrize("name", ["notes.txt", "missing.png", ".hidden.png"])
def test_what_is_no_image_is_named(folder, name):
    with pytest.raises(DataError, match=name):
        load_images([folder / name], (1, 8, 8), (0.0, 1.0))


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        load_images([tmp_path], (1, 8, 8), (0.0, 1.0))


def test_images_do_not_fit_a_model_of_vectors(folder):
    with pytest.raises(DataError, match=r"shape \(30,\)"):
        load_images([folder], (30,), (0.0, 1.0))
