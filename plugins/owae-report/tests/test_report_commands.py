"""The commands that draw a run: what they write, what they print where, what they refuse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import run, said

from owae.errors import DataError, OwaeError
from owae_report import room
from owae_report.cli import reconstruct, sample, traverse
from owae_report.events import draw_of_class, reconstructions
from owae_report.interpolate import interpolate
from owae_report.pixels import to_pixels


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


FIGURES = {sample: "samples", reconstruct: "reconstructions", traverse: "latent-grid"}
COMMANDS = pytest.mark.parametrize("module", FIGURES, ids=FIGURES.values())


@COMMANDS
@pytest.mark.parametrize("name", ["image", "odd"])
def test_a_picture_is_written_into_the_run_and_its_path_alone_printed(runs, tmp_path, module, name):
    result = run(module, name)
    path = tmp_path / name / "figures" / f"{FIGURES[module]}.png"
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{path}\n", "")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    first = path.read_bytes()
    assert run(module, name).exit_code == 0
    assert path.read_bytes() == first
    assert pixels_of(path).min() < pixels_of(path).max()


@COMMANDS
def test_the_seed_is_the_users(runs, tmp_path, module):
    run(module, "image", "--out", tmp_path / "a.png")
    run(module, "image", "--out", tmp_path / "b.png", "--seed", 1)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@COMMANDS
def test_a_picture_goes_where_the_user_says(runs, tmp_path, module):
    path = tmp_path / "new" / "folder" / "my.PNG"
    assert run(module, "image", "--out", path).stdout == f"{path}\n"
    assert path.is_file()
    assert not (tmp_path / "image").exists()
    inside = tmp_path / "new" / f"{FIGURES[module]}.png"
    assert run(module, "image", "--out", tmp_path / "new").stdout == f"{inside}\n"


@COMMANDS
@pytest.mark.parametrize("out", ["picture.jpg", "picture", "picture.npy"])
def test_another_kind_of_file_is_refused_before_anything_is_drawn(runs, tmp_path, module, out):
    result = run(module, "image", "--out", tmp_path / out)
    assert result.exit_code == 2
    assert "does not end in .png" in said(result)
    assert not (tmp_path / out).exists()


@COMMANDS
def test_what_is_no_image_becomes_an_array_and_that_is_said(runs, tmp_path, module):
    result = run(module, "vector")
    path = tmp_path / "vector" / "figures" / f"{FIGURES[module]}.npy"
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert "not images" in said(result)
    assert np.load(path, allow_pickle=False).shape == {sample: (64, 7), reconstruct: (2, 10, 7), traverse: (20, 20, 7)}[module]
    other = run(module, "vector", "--out", tmp_path / "my.png")
    assert other.stdout == f"{tmp_path / 'my.npy'}\n"
    if module is sample:
        assert run(module, "vector", "--out", tmp_path / "my.csv").stdout == f"{tmp_path / 'my.csv'}\n"
        assert np.allclose(np.loadtxt(tmp_path / "my.csv", delimiter=",", skiprows=1), np.load(path), rtol=1e-5)


@COMMANDS
def test_no_run_is_a_clear_error(runs, module):
    assert isinstance(run(module, "nothing").exception, OwaeError)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (sample, ["-n", "0"]),
        (sample, ["-n", "-3"]),
        (sample, ["-n", "many"]),
        (sample, ["--seed", "-1"]),
        (sample, ["--seed", str(2**80)]),
        (reconstruct, ["-n", "0"]),
        (reconstruct, ["--split", "validation"]),
        (traverse, ["--side", "1"]),
        (traverse, ["--extent", "0"]),
        (traverse, ["--extent", "-2"]),
        (traverse, ["--extent", "inf"]),
        (traverse, ["--extent", "1e300"]),
        (traverse, ["--extent", "nan"]),
    ],
)
def test_numbers_out_of_range_are_refused(runs, tmp_path, module, arguments):
    result = run(module, "image", *arguments)
    assert result.exit_code == 2
    assert arguments[0].strip("-") in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize("module", [sample, reconstruct])
def test_only_images_can_be_written_separately(runs, tmp_path, module):
    result = run(module, "vector", "--separate", tmp_path / "apart")
    assert result.exit_code == 2
    assert "not images" in said(result)
    assert not (tmp_path / "apart").exists()


# Samples


def test_samples_come_one_by_one_at_their_own_size(runs, tmp_path):
    result = run(sample, "odd", "-n", 11, "--separate", tmp_path / "apart", "--npy", tmp_path / "numbers.npy")
    assert result.stdout.splitlines()[1:] == [str(tmp_path / "apart"), str(tmp_path / "numbers.npy")]
    files = sorted((tmp_path / "apart").iterdir())
    assert [path.name for path in files] == [f"sample-{i:02}.png" for i in range(11)]
    numbers = np.load(tmp_path / "numbers.npy", allow_pickle=False)
    assert numbers.dtype == np.float32
    for path, pixels in zip(files, to_pixels(torch.from_numpy(numbers), (0.0, 1.0)), strict=True):
        assert np.array_equal(pixels_of(path), pixels)
        assert pixels_of(path).shape == (45, 33, 3)


# Reconstructions


@pytest.mark.parametrize("number", [1, 5, 23])
def test_any_number_of_examples_is_reconstructed(runs, tmp_path, number):
    assert run(reconstruct, "odd", "-n", number, "--separate", tmp_path / "apart").exit_code == 0
    files = {path.name for path in (tmp_path / "apart").iterdir()}
    digits = len(str(number - 1))
    assert files == {f"example-{i:0{digits}}-{kind}.png" for i in range(number) for kind in ("x", "z1", "z2")}


def test_a_set_smaller_than_asked_is_shown_whole_and_that_is_said(runs, tmp_path):
    result = run(reconstruct, "image", "-n", 99, "--separate", tmp_path / "apart")
    assert result.exit_code == 0
    assert "holds 23 examples" in result.stderr
    assert len(list((tmp_path / "apart").iterdir())) == 23 * 3


def test_the_examples_are_of_the_asked_set_and_every_class(runs, tmp_path):
    for split in ("test", "train"):
        run(reconstruct, "image", "-n", 4, "--split", split, "--separate", tmp_path / split)
        source = runs["image"].source(split)
        pixels = to_pixels(source.examples, (0.0, 1.0))
        shown = [pixels_of(tmp_path / split / f"example-{i}-x.png") for i in range(4)]
        found = [next(i for i, image in enumerate(pixels) if np.array_equal(image, tile)) for tile in shown]
        assert source.labels is not None
        assert source.labels[found].tolist() == [0, 1, 2, 3]


def test_a_users_own_images_are_reconstructed(runs, tmp_path):
    own = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    (tmp_path / "own").mkdir()
    for i, pixels in enumerate(own):
        Image.fromarray(pixels).save(tmp_path / "own" / f"{i}.png")
    assert run(reconstruct, "image", "--images", tmp_path / "own", "--separate", tmp_path / "apart").exit_code == 0
    for i, pixels in enumerate(own):
        assert np.array_equal(pixels_of(tmp_path / "apart" / f"example-{i}-x.png"), pixels)
    assert isinstance(run(reconstruct, "image", "--images", tmp_path / "none.png").exception, DataError)


def test_help_needs_no_torch():
    modules = "sample, reconstruct, traverse"
    code = f"import sys; from owae_report.cli import {modules}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (
            sample,
            ["-n", 10**9],
            r"1,000,000,000 samples of shape \(1, 8, 8\) would take about 1,280,000,000,000 bytes .*; up to 838,860 would fit",
        ),
        (
            traverse,
            ["--side", 10**5],
            r"a grid of 10,000,000,000 points of shape \(1, 8, 8\) would take .*; up to 838,860 would fit",
        ),
    ],
)
def test_more_than_memory_holds_is_refused_before_it_is_drawn(runs, tmp_path, monkeypatch, module, arguments, words):
    monkeypatch.setattr(room, "_free", lambda: 2**30)
    result = run(module, "image", *arguments)
    assert isinstance(result.exception, OwaeError)
    assert re.match(words, str(result.exception))
    assert not (tmp_path / "image").exists()


def test_figures_and_paths_that_memory_does_not_hold_are_refused(runs, tmp_path, monkeypatch):
    x = torch.rand(3, 1, 8, 8)
    monkeypatch.setattr(room, "_free", lambda: 2**22)
    result = run(sample, "image", "-n", 60)
    assert re.match(r"a figure of 60 pictures, .* 4,194,304 are free; about \d pictures would fit", str(result.exception))
    assert isinstance(result.exception, OwaeError)
    with pytest.raises(OwaeError, match=r"3 paths of 9,999 points of shape \(1, 8, 8\) would take about 38,396,160 bytes"):
        interpolate(runs["image"].model, x, x, steps=9999)
    monkeypatch.setattr(room, "_free", lambda: 2**12)
    with pytest.raises(OwaeError, match="reconstructions of 3 examples through 2 levels"):
        reconstructions(runs["image"].model, x)
    with pytest.raises(OwaeError, match="4 samples of shape"):
        draw_of_class(runs["image"].model, None, 1, 2, 4)
    assert run(sample, "vector", "-n", 20, "--out", tmp_path / "x.npy").exit_code == 0


def test_what_is_free_is_told_by_the_system():
    assert 2**20 < room._free() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
