"""The paper's five experiments from the command line, offline, on small random data in the true files' formats."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae_data.samples import write_all, write_celeba, write_mnist, write_svhn

EXAMPLES = Path(__file__).parent.parent / "examples"
PAPER = {"mnist": 5, "mnist_wae": 5, "mnist_hvae": 5, "svhn": 6, "celeba": 10}  # and their levels

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, command: Run) -> Run:
    """Runs a command line in this process, without a network: exit code, stdout, stderr."""

    def nowhere(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    return command


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small siblings, with their data beside them."""
    folder = tmp_path_factory.mktemp("smoke")
    for path in (EXAMPLES / "smoke").glob("*.toml"):
        shutil.copy(path, folder)
    write_all(folder / "data")
    return folder


def finite(values: Any) -> bool:
    """Whether every number anywhere in values from JSON is one."""
    if isinstance(values, dict):
        return all(map(finite, values.values()))
    if isinstance(values, list):
        return all(map(finite, values))
    return not isinstance(values, float) or math.isfinite(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_a_small_sibling_trains_and_every_command_looks_at_it(name: str, run: Run, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = run("train", small / f"{name}.toml", "--out", folder)
    assert (code, out) == (0, f"{folder}\n"), err
    lines = read_metrics(folder / "metrics.jsonl")
    assert lines[-1]["epoch"] == 2
    assert len({line["step"] for line in lines}) == len(lines) >= 4
    assert all(finite(line) for line in lines)

    opened = open_run(folder)
    sheets = {"sample": "samples", "reconstruct": "reconstructions", "traverse": "latent-grid"}
    for command, sheet in sheets.items():
        code, out, err = run(command, folder)
        assert (code, out) == (0, f"{folder / 'figures' / sheet}.png\n"), err
        with Image.open(folder / "figures" / f"{sheet}.png") as image:
            red, green, _ = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
            assert np.array_equal(red, green) == (opened.shape[0] == 1)
            assert min(image.size) > opened.shape[-1]
    code, out, err = run("reconstruct", folder, "-n", 1, "--out", tmp_path / "one.png")
    assert (code, out) == (0, f"{tmp_path / 'one.png'}\n"), err

    code, out, err = run("evaluate", folder, "--json", "--quick", "--neighbours", 3)
    assert code == 0, err
    found = json.loads(out)
    assert len(found["levels"]) == PAPER[name]
    assert finite(found)
    labelled = name != "celeba"
    assert all((level["accuracy"] is not None) == labelled for level in found["levels"])

    figures = ["samples", "latent-grid", "reconstructions", "interpolations", "embeddings-pca"]
    code, out, err = run("figures", folder, "--format", "png", *(word for figure in figures for word in ("--only", figure)))
    assert (code, out.splitlines()) == (0, [f"{folder / 'figures' / figure}.png" for figure in figures]), err


@pytest.mark.slow
def test_the_commands_in_a_headers_order_from_nothing(run: Run, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "smoke", tmp_path / "smoke", ignore=shutil.ignore_patterns("data"))
    config = tmp_path / "smoke" / "celeba.toml"
    code, _, err = run("train", config, "--out", tmp_path / "run")
    assert code == 2
    assert "Traceback" not in err
    assert str(tmp_path / "smoke" / "data" / "celeba") in err
    assert not (tmp_path / "run").exists()

    words = re.search(r"^# +python (-m .*) examples/smoke/data$", config.read_text(), re.MULTILINE)
    assert words is not None
    data = tmp_path / "smoke" / "data"
    written = subprocess.run([sys.executable, *words[1].split(), data], capture_output=True, text=True, timeout=900, check=True)
    assert (written.stdout, written.stderr) == (f"{data}\n", "")
    code, out, err = run("train", config, "--out", tmp_path / "run")
    assert (code, out) == (0, f"{tmp_path / 'run'}\n"), err


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_the_whole_model_takes_its_first_steps(name: str, run: Run, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_mnist(root / "mnist", train=16)
    write_svhn(root / "svhn", train=8, extra=8)
    write_celeba(root / "celeba", train=8)
    batch_size = 4 if name == "celeba" else 8
    changes = [f"data.root={root}", "data.verify=false", "data.download=false", "train.epochs=1", f"train.batch_size={batch_size}"]
    arguments = [argument for change in changes for argument in ("--set", change)]
    code, out, err = run("train", EXAMPLES / f"{name}.toml", "--out", tmp_path / "run", *arguments)
    assert (code, out) == (0, f"{tmp_path / 'run'}\n"), err
    opened = open_run(tmp_path / "run")
    assert (opened.step, opened.model.depth) == (2, PAPER[name])
    assert all(parameter.isfinite().all() for parameter in opened.model.parameters())
    assert len(list((tmp_path / "run" / "pictures").glob("*.png"))) == 2


@pytest.mark.parametrize("name", PAPER)
def test_without_files_or_network_an_example_says_what_to_put_where(
    name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "data"))
    code, out, err = run("train", EXAMPLES / f"{name}.toml", "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "Get it by hand" in err
    assert str(tmp_path / "data" / name.partition("_")[0]) in err
    assert not (tmp_path / "run").exists()


def test_a_web_page_in_place_of_the_archive_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "celeba" / "img_align_celeba.zip"
    archive.parent.mkdir()
    archive.write_text("<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>")
    monkeypatch.setenv("OWAE_DATA", str(tmp_path))
    code, out, err = run("train", EXAMPLES / "celeba.toml", "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert f"{archive} " in err
    assert "it is a web page" in err
    assert "get the file by hand from https://" in err


@pytest.mark.slow
def test_a_folder_of_100_faces_trains(run: Run, small: Path, tmp_path: Path) -> None:
    write_celeba(tmp_path / "faces", train=100, valid=0, test=0, archive=False, lists=False)
    changes = (f"data.root={tmp_path / 'faces' / 'img_align_celeba'}", "train.epochs=1", "train.batch_size=32")
    arguments = [argument for change in changes for argument in ("--set", change)]
    code, _, err = run("train", small / "celeba.toml", "--out", tmp_path / "run", *arguments)
    assert code == 0, err
    assert "held out" in err
    assert open_run(tmp_path / "run").step == 3  # 90 of them in batches of 32


TOP_OF_ONE_PIXEL = """
[data]
kind = "image-folder"
path = "pictures"

[[levels]]
layer = { kind = "resnet", channels = 4, filters = 4, resample = "down", output = "sigmoid" }

[[levels]]
layer = { kind = "resnet", channels = 3, filters = 4, resample = "down" }

[[levels]]
layer = { kind = "resnet", channels = 2, filters = 4, resample = "down" }

[weights]
reconstruction = { rule = "constant", value = 0.5 }
match = 0.5

[divergence]
kind = "mmd"

[train]
epochs = 2
batch_size = 8
"""


@pytest.fixture
def one_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose deepest map is 1×1, on 17 pictures of 8×8 to train on and 3 to test on."""
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for part, count in (("train", 17), ("test", 3)):
        (tmp_path / "pictures" / part).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "pictures" / part / f"{i:02}.png")
    path = tmp_path / "one_pixel.toml"
    path.write_text(TOP_OF_ONE_PIXEL)
    return path


@pytest.mark.slow
def test_seventeen_pictures_in_batches_of_eight_under_a_top_of_one_pixel(one_pixel: Path, run: Run, tmp_path: Path) -> None:
    """The last batch would be of one, which batch norm over one pixel cannot be trained on."""
    code, _, err = run("train", one_pixel, "--out", tmp_path / "run")
    assert code == 0, err
    assert err.count("leave one over") == 1
    opened = open_run(tmp_path / "run")
    assert opened.step == 4
    assert opened.model.layers[-1].latent_shape == (2, 1, 1)
    assert any(isinstance(module, nn.BatchNorm2d) for module in opened.model.layers[-1].modules())

    picture = tmp_path / "pictures" / "test" / "00.png"
    for arguments in (["-n", 1], ["--images", picture]):
        code, out, err = run("reconstruct", tmp_path / "run", "--out", tmp_path / "one.png", *arguments)
        assert (code, out) == (0, f"{tmp_path / 'one.png'}\n"), err
    assert run("sample", tmp_path / "run", "-n", 1)[0] == 0
    assert run("evaluate", tmp_path / "run", "--quick", "--batch-size", 1)[0] == 0


def test_batches_of_one_are_refused_before_there_is_a_run(one_pixel: Path, run: Run, tmp_path: Path) -> None:
    code, out, err = run("train", one_pixel, "--out", tmp_path / "run", "--set", "train.batch_size=1")
    assert (code, out) == (2, "")
    assert "train.batch_size" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
