"""The paper's experiments, as `owae check` describes them: method and App. B's tables, row by row and column by column."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from owae import Config, Registry
from owae.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
SMOKE = EXAMPLES / "smoke"
PAPER = ("mnist", "mnist_wae", "mnist_hvae", "svhn", "celeba")
SHAPES = {"mnist": (1, 28, 28), "mnist_wae": (1, 28, 28), "mnist_hvae": (1, 28, 28), "svhn": (3, 32, 32), "celeba": (3, 64, 64)}

# filter, number of filters, resampling, z_i as height × width × channels, d_i
SVHN = [
    ("5×5", 64, "down/up", (16, 16, 2), 512),
    ("3×3", 64, "none", (16, 16, 1), 256),
    ("3×3", 96, "down/up", (8, 8, 2), 128),
    ("3×3", 96, "none", (8, 8, 1), 64),
    ("3×3", 128, "down/up", (4, 4, 2), 32),
    ("3×3", 128, "none", (4, 4, 1), 16),
]
CELEBA = [
    ("7×7", 64, "down/up", (32, 32, 8), 8192),
    ("5×5", 64, "none", (32, 32, 6), 6144),
    ("3×3", 64, "none", (32, 32, 4), 4096),
    ("3×3", 64, "down/up", (16, 16, 8), 2048),
    ("3×3", 96, "none", (16, 16, 6), 1536),
    ("3×3", 96, "none", (16, 16, 4), 1024),
    ("3×3", 96, "down/up", (8, 8, 8), 512),
    ("3×3", 128, "none", (8, 8, 6), 384),
    ("3×3", 128, "none", (8, 8, 4), 256),
    ("3×3", 128, "down/up", (4, 4, 8), 128),
]
DEEP = ("svhn_deep", "celeba_deep")
TABLES = {"svhn": SVHN, "celeba": CELEBA}

# z_i's dimension, widths of the two hidden layers
MNIST = [(32, 2048), (16, 1024), (8, 512), (4, 256), (2, 128)]

# w_0 … w_N of Eq. 14, and λ^Σ_1 … λ^Σ_N of Eq. 17
WEIGHTS = {
    "mnist": [1, 0.1 / 32, 0.01 / 16, 0.001 / 8, 0.0001 / 4, 1e-3],
    "mnist_wae": [1, 10],
    "mnist_hvae": [1] * 6,
    "svhn": [1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 10],
    "celeba": [1, *(0.1 ** (1 + (i - 1) / 3) for i in range(1, 10)), 0.5],
}
PENALTIES = {
    "mnist": [None] * 5,
    "mnist_wae": [None] * 5,
    "mnist_hvae": [1] * 5,
    "svhn": [2.5 * math.exp(-i) * (2 if i == 5 else 1) for i in range(6)],
    "celeba": [1.5 * math.exp(-i) * (2 if i == 9 else 1) for i in range(10)],
}
TRAINING = {  # batch size, rate of Adam
    "mnist": (128, 1e-3),
    "mnist_wae": (128, 1e-3),
    "mnist_hvae": (128, 1e-3),
    "svhn": (64, 3e-4),
    "celeba": (64, 5e-4),
}

Check = Callable[..., str]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """Stdout of `owae check` on an example: its data are not there and cannot be had, and need not be."""
    monkeypatch.setenv("OWAE_DATA", str(tmp_path))

    def no_network(*_: object) -> NoReturn:
        raise AssertionError("a check wants to download something")

    monkeypatch.setattr("socket.socket.connect", no_network)

    def checked(name: str, *arguments: str) -> str:
        with pytest.raises(SystemExit) as exited:
            main(("check", str(EXAMPLES / f"{name}.toml"), *arguments))
        captured = capsys.readouterr()
        assert exited.value.code == 0, captured.err
        return captured.out

    return checked


def rows(printed: str) -> list[list[str]]:
    """The cells of the levels' rows in a printed table."""
    return [re.split(r" {2,}", line.strip()) for line in printed.splitlines() if re.match(r" *\d+  ", line)]


def shown(shape: tuple[int, int, int]) -> str:
    """A (height, width, channels) of the paper as the tool prints it, channels first."""
    height, width, channels = shape
    return f"{channels}×{height}×{width}"


@pytest.mark.parametrize("name", TABLES)
def test_the_residual_networks_are_the_papers(name: str, check: Check) -> None:
    found, table = json.loads(check(name, "--json"))["levels"], TABLES[name]
    assert len(found) == len(table)
    for level, (size, filters, resample, (height, width, channels), dimension) in zip(found, table, strict=True):
        assert level["layer"] == "resnet"
        assert level["summary"] == f"{size}, {filters}, {resample}"
        assert level["latent_shape"] == [channels, height, width]
        assert level["dimension"] == dimension == channels * height * width
        assert level["cost"] == "squared-euclidean"
        assert level["regulariser"] == "log-variance"
        assert (level["space"], level["target"]) == ("latent", "code")


@pytest.mark.parametrize("name", TABLES)
def test_the_printed_table_is_the_papers(name: str, check: Check) -> None:
    heading = next(line for line in check(name).splitlines() if line.lstrip().startswith("level"))
    assert re.split(r" {2,}", heading.strip())[:6] == ["level", "layer", "networks", "from", "to", "dimension"]
    printed, below = rows(check(name)), shown((SHAPES[name][1], SHAPES[name][2], SHAPES[name][0]))
    assert len(printed) == len(TABLES[name])
    for i, (cells, (size, filters, resample, shape, dimension)) in enumerate(zip(printed, TABLES[name], strict=True), start=1):
        assert cells[:6] == [str(i), "resnet", f"{size}, {filters}, {resample}", below, shown(shape), f"{dimension:,}"]
        below = shown(shape)


@pytest.mark.parametrize("name", ["mnist", "mnist_wae", "mnist_hvae"])
def test_the_perceptrons_are_the_papers(name: str, check: Check) -> None:
    found, printed = json.loads(check(name, "--json"))["levels"], rows(check(name))
    assert len(found) == len(printed) == len(MNIST)
    for i, (level, cells, (dimension, width)) in enumerate(zip(found, printed, MNIST, strict=True), start=1):
        assert (level["layer"], level["summary"]) == ("mlp", f"{width}, {width}")
        assert level["latent_shape"] == [level["dimension"]] == [dimension]
        assert cells[:3] == [str(i), "mlp", f"{width}, {width}"]
        assert cells[4:6] == [str(dimension), str(dimension)]


@pytest.mark.parametrize("name", PAPER)
def test_the_weights_are_the_papers(name: str, check: Check) -> None:
    found = json.loads(check(name, "--json"))
    assert found["weights"] == pytest.approx(WEIGHTS[name])
    stacked = found["stacked"]
    assert [level["weight"] for level in found["levels"]] == [
        *(pytest.approx(w) for w in WEIGHTS[name][:stacked]),
        *[None] * (len(found["levels"]) - stacked),
    ]
    penalties = [level["penalty_weight"] for level in found["levels"]]
    assert penalties == [None if p is None else pytest.approx(p) for p in PENALTIES[name]]


@pytest.mark.parametrize("name", PAPER)
def test_batches_and_rates_are_the_papers(name: str, registry: Registry) -> None:
    train = Config.load(EXAMPLES / f"{name}.toml", registry).train
    batch_size, rate = TRAINING[name]
    assert train.batch_size == batch_size
    assert (train.optimizer["name"], train.optimizer["lr"]) == ("Adam", rate)


def test_the_data_are_the_papers(registry: Registry) -> None:
    options: dict[str, Any] = {name: Config.load(EXAMPLES / f"{name}.toml", registry).data.options for name in PAPER}
    assert options["svhn"].parts == "both"
    assert (options["celeba"].crop, options["celeba"].size) == ((140, 140), (64, 64))
    assert options["celeba"].value_range == (-1, 1)
    assert {tuple(options[name].value_range) for name in PAPER if name != "celeba"} == {(0, 1)}


@pytest.mark.parametrize(("name", "dimension"), [("mnist", 2), ("mnist_wae", 32), ("svhn", 16), ("celeba", 128)])
def test_the_kernel_is_scaled_by_the_level_that_is_matched(name: str, dimension: int, check: Check) -> None:
    divergence = json.loads(check(name, "--json"))["divergence"]
    assert (divergence["divergence"], divergence["kernel"]) == ("mmd", "imq")
    assert divergence["unit"] == f"the prior's: 2d = {2 * dimension}"
    assert divergence["scales"] == [0.1, 0.2, 0.5, 1, 2, 5, 10]


def test_the_ablation_stops_at_the_first_level(check: Check) -> None:
    found = json.loads(check("mnist_wae", "--json"))
    assert (found["stacked"], len(found["levels"])) == (1, 5)
    assert "prior at z_1: ancestral, through levels 2 to 5, from standard-normal" in check("mnist_wae")


def test_the_hierarchical_vae_has_all_terms_of_the_bound(check: Check) -> None:
    found = json.loads(check("mnist_hvae", "--json"))
    assert {level["cost"] for level in found["levels"]} == {"gaussian-nll"}
    assert {level["regulariser"] for level in found["levels"]} == {"entropy"}
    assert (found["divergence"]["divergence"], found["stacked"]) == ("cross-entropy", 5)


@pytest.mark.parametrize("name", PAPER + DEEP)
def test_the_small_sibling_is_the_same_model(name: str) -> None:
    whole, small = (tomllib.loads((folder / f"{name}.toml").read_text()) for folder in (EXAMPLES, SMOKE))
    assert small["data"] == whole["data"] | {"root": "data", "download": False, "verify": False}
    for level in whole["levels"]:
        layer = level["layer"]
        if "hidden" in layer:
            layer["hidden"] = [width // 32 for width in layer["hidden"]]
        else:
            layer["filters"] //= 8
    whole["train"] |= {"epochs": 2, "batch_size": 8, "pictures_every": 0, "checkpoint_every": 1, "log_every": 1}
    assert {**small, "data": None} == {**whole, "data": None}


@pytest.mark.parametrize("name", PAPER + DEEP)
def test_the_header_says_whose_each_choice_is(name: str) -> None:
    for path in (EXAMPLES / f"{name}.toml", SMOKE / f"{name}.toml"):
        header = path.read_text().partition("\n\n")[0].splitlines()
        assert all(line.startswith("#") for line in header)
    header = (EXAMPLES / f"{name}.toml").read_text().partition("\n\n")[0]
    assert "# The paper's: " in header
    assert "# Ours" in header
