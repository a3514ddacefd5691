"""`owae figures`: what it writes, what it prints where, what it refuses."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from owae.data.sources import TensorSource
from owae.errors import OwaeError, TrainingError
from owae.model.stack import Stack
from owae.run.opened import Run
from owae_report.cli.figures import command
from owae_report.figures import EMBEDDINGS, FIGURES, GRIDS

FAST = [name for name in FIGURES if name != "embeddings-umap"]


def run(*arguments: object):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def only(*names: str) -> list[str]:
    return [part for name in names for part in ("--only", name)]


def said(result) -> str:
    """What stands on stderr, without frames and line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", result.stderr).split())


@pytest.fixture
def no_umap(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)


@pytest.mark.parametrize("of", ["digits", "colours"])
@pytest.mark.slow
def test_every_figure_is_written_twice_and_its_paths_alone_printed(of, request, tmp_path):
    result = run(request.getfixturevalue(of).folder, "--out", tmp_path, *only(*FAST))
    expected = [tmp_path / f"{name}.{kind}" for name in FAST for kind in ("png", "pdf")]
    assert (result.exit_code, result.stdout.splitlines(), result.stderr) == (0, [str(path) for path in expected], "")
    assert sorted(tmp_path.iterdir()) == sorted(expected)
    for path in expected:
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert content.startswith(b"%PDF")
            assert b"CreationDate" not in content
        else:
            with Image.open(path) as image:
                assert np.ptp(np.asarray(image.convert("L"))) > 100


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(digits, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(digits.folder, "--out", tmp_path / name, "--seed", seed, *only(*FAST)).exit_code == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    for name in ("samples", "reconstructions", "interpolations"):  # of so few codes all are embedded, and none lies on another
        assert (tmp_path / "a" / f"{name}.png").read_bytes() != (tmp_path / "c" / f"{name}.png").read_bytes(), name


@pytest.mark.parametrize(("of", "ratio"), [("digits", 1.0), ("colours", 12 / 8)])
def test_pictures_keep_their_proportions(of, ratio, request, tmp_path):
    folder = request.getfixturevalue(of).folder
    assert run(folder, "--out", tmp_path, "--side", 6, "--format", "png", *only("latent-grid")).exit_code == 0
    with Image.open(tmp_path / "latent-grid.png") as image:
        dark = np.asarray(image.convert("L")) < 250
    # Rows and columns of pixels that the grid fills, without the text beside it.
    height, width = (dark.mean(1) > 0.5).sum(), (dark.mean(0) > 0.5).sum()
    assert height / width == pytest.approx(ratio, rel=0.06)


def test_figures_go_into_the_run_unless_told_otherwise(digits):
    result = run(digits.folder, "--format", "pdf", *only("samples"))
    path = digits.folder / "figures" / "samples.pdf"
    assert result.stdout == f"{path}\n"
    assert path.is_file()


def test_numbers_are_the_users(digits, tmp_path):
    sizes = {}
    for number in (2, 8):
        run(digits.folder, "-n", number, "--out", tmp_path, "--format", "png", *only("reconstructions", "interpolations"))
        for path in tmp_path.iterdir():
            with Image.open(path) as image:
                sizes[path.stem, number] = image.size
    assert sizes["reconstructions", 2][0] < sizes["reconstructions", 8][0]
    assert sizes["interpolations", 2][1] < sizes["interpolations", 8][1]


def test_more_than_there_is_is_said(digits, tmp_path, caplog):
    assert run(digits.folder, "-n", 50, "--out", tmp_path, "--format", "png", *only("reconstructions")).exit_code == 0
    assert "holds 6 examples, fewer than the 50 asked for" in caplog.text


def test_the_level_of_the_paths_is_the_users(digits, tmp_path):
    for level in (1, 2):
        run(digits.folder, "--level", level, "--out", tmp_path / str(level), "--format", "png", *only("interpolations"))
    first, second = ((tmp_path / str(level) / "interpolations.png").read_bytes() for level in (1, 2))
    assert first != second
    result = run(digits.folder, "--level", 3, *only("interpolations"))
    assert isinstance(result.exception, OwaeError)
    assert "digits has levels 1 to 2" in str(result.exception)


@pytest.mark.slow
def test_two_runs_stand_side_by_side(digits, colours, tmp_path, no_umap):
    result = run(digits.folder, "--against", colours.folder, "--out", tmp_path, "--format", "png")
    assert result.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}-against-colours.png" for name in FAST}
    assert "embeddings-umap not drawn" in said(result)
    run(digits.folder, "--out", tmp_path / "alone", "--format", "png", *only("samples"))
    sizes = []
    for path in (tmp_path / "alone" / "samples.png", tmp_path / "samples-against-colours.png"):
        with Image.open(path) as image:
            sizes.append(image.width)
    assert sizes[1] > 1.5 * sizes[0]


def test_a_run_is_not_compared_with_itself(digits):
    result = run(digits.folder, "--against", digits.folder)
    assert result.exit_code == 2
    assert "is the same run" in said(result)


@pytest.mark.slow
def test_without_umap_the_rest_is_drawn(digits, tmp_path, no_umap):
    result = run(digits.folder, "--split", "train", "--out", tmp_path, "--format", "png")
    assert result.exit_code == 0
    assert {path.stem for path in tmp_path.iterdir()} == set(FAST)
    assert "pip install umap-learn" in said(result)
    assert isinstance(run(digits.folder, "--split", "train", *only("embeddings-umap")).exception, OwaeError)


def test_few_examples_are_embedded_without_umap(digits, tmp_path):
    result = run(digits.folder, "--split", "train", "--examples", 9, "--out", tmp_path, "--format", "png", *only("embeddings"))
    assert {path.stem for path in tmp_path.iterdir()} == set(EMBEDDINGS) - {"embeddings-umap"}
    assert "15 examples or more, found 9" in said(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "smaples"], "did you mean 'samples'?"),
        (["--format", "png,pfd"], "did you mean 'pdf'?"),
        (["--format", ","], "valid: png, pdf"),
        (["--split", "validation"], "test"),
        (["--steps", "1"], "--steps"),
        (["--examples", "0"], "--examples"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_drawn(digits, tmp_path, arguments, message):
    result = run(digits.folder, "--out", tmp_path / "none", *arguments)
    assert result.exit_code != 0
    assert message in (str(result.exception) if isinstance(result.exception, OwaeError) else said(result))
    assert not (tmp_path / "none").exists()


def test_a_file_is_no_folder_to_write_to(digits, tmp_path):
    (tmp_path / "file").write_text("kept")
    result = run(digits.folder, "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "is a file; give a folder" in said(result)


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert isinstance(run(tmp_path).exception, TrainingError)


def test_a_model_that_diverged_is_refused(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(Stack, "decode", lambda self, z, level=None, *, sample=False: torch.full((len(z), 1, 8, 8), torch.nan))
    for name in GRIDS:
        result = run(digits.folder, "--out", tmp_path / "none", *only(name))
        assert isinstance(result.exception, TrainingError), name
        assert "not finite" in str(result.exception)


class Vectors(Run):
    """A run of vectors: what the command uses of one."""

    def __init__(self, folder: Path, labels: bool) -> None:
        self.folder, self.shape, self.value_range, self._data = folder, (3,), (0.0, 1.0), {}
        self.model = tiny.stack(shape=(3,))
        self.config = SimpleNamespace(levels=self.model.levels)  # pyright: ignore[reportAttributeAccessIssue] # all that is read of it
        self._source = TensorSource(torch.rand(20, 3), torch.arange(20) % 3 if labels else None)

    def source(self, split: str = "test") -> TensorSource:
        return self._source


@pytest.mark.parametrize("labels", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_data_that_are_no_images_are_drawn_by_their_columns(tmp_path, monkeypatch, no_umap, labels):
    vectors = Vectors(tmp_path / "vectors", labels)
    monkeypatch.setattr("owae.run.opened.open_run", lambda path, checkpoint, overrides: vectors)
    result = run(tmp_path / "vectors", "--format", "png")
    assert result.exit_code == 0, result.exception
    assert [Path(line).stem for line in result.stdout.splitlines()] == [*GRIDS, "embeddings-raw", "embeddings-pca"]
    assert "embeddings-umap not drawn" in said(result)
