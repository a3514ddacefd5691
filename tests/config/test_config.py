"""Every mistake in a config is told, at its place, with what would work; all of them at once and nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import declared
import pytest
from declared import GONE, POWER, VALID, edited, load, mistakes

from owae import Config, Registry
from owae.errors import ConfigError


@pytest.fixture(scope="module")
def registry() -> Registry:
    return declared.registry()


# A value and where it is put; the place that is blamed, where that is another; words of the message.
MISTAKES: list[tuple[str, Any, str, list[str]]] = [
    # unknown keys
    ("divergance", {}, "", ["did you mean 'divergence'"]),
    ("train.epoch", 3, "", ["did you mean 'epochs'"]),
    ("train.batch-size", 3, "", ["did you mean 'batch_size'"]),
    ("train.nonsense", 3, "", ["unknown key", "valid: accumulate, batch_size, "]),
    ("levels.1.spase", "data", "levels[1].spase", ["did you mean 'space'"]),
    ("levels.0.layer.hiden", [1], "levels[0].layer.hiden", ["did you mean 'hidden'"]),
    ("levels.0.layer.extras", [{"widht": 4}], "levels[0].layer.extras[0].widht", ["did you mean 'width'", "depth"]),
    ("weights.mach", 1.0, "", ["did you mean 'match'"]),
    ("weights.reconstruction.bas", 1.0, "", ["did you mean 'base'"]),
    ("train.optimizer.lrr", 1.0, "", ["did you mean 'lr'"]),
    ("train.optimizer.learning_rate", 1.0, "", ["did you mean 'lr'"]),
    ("train.schedule", {"name": "OneCycleLR", "max_lr": 1.0, "total_steps": 3}, "train.schedule.total_steps", ["unknown"]),
    # keys in the wrong table
    ("epochs", 3, "", ["'epochs' belongs in [train]"]),
    ("data.epochs", 3, "", ["'epochs' belongs in [train]"]),
    ("train.lr", 3, "", ["'lr' belongs in optimizer of [train]"]),
    ("train.learning_rte", 3, "", ["did you mean 'lr'", "optimizer of [train]"]),
    ("train.matched_level", 1, "", ["'matched_level' belongs at the top of the file"]),
    ("train.path", "x", "", ["'path' belongs in [data]"]),
    ("levels.0.latent", 3, "levels[0].latent", ["'latent' belongs in layer = { … }"]),
    ("optimzer", {}, "", ["did you mean 'optimizer'", "in [train]"]),
    ("xyzzy", {"q": 1}, "", ["unknown table; valid: cost, data, ", "no phase is called 'xyzzy'"]),
    # wrong types and values
    ("train.epochs", 1.5, "", ["1.5", "integer"]),
    ("train.epochs", 3.0, "", ["3.0", "integer"]),
    ("train.epochs", -1, "", ["-1", "greater than or equal to 1"]),
    ("train.epochs", 0, "", ["greater than or equal to 1"]),
    ("train.epochs", True, "", ["True", "integer"]),
    ("train.epochs", "3", "", ["'3'", "integer"]),
    ("train.clip_gradients", math.inf, "", ["inf", "finite"]),
    ("train.batch_size", 2**63, "", ["9223372036854775808", "less than or equal to"]),
    ("train.batch_size", 1, "", ["1", "at least 2", "batch norm"]),
    ("train.device", "gpu", "", ["'gpu'", "cuda"]),
    ("train", 3, "", ["found 3", "[train]"]),
    ("levels.1.rows", 0.0, "levels[1]", ["rows is 0.0", "above 0 and at most 1"]),
    ("levels.1.rows", "half", "levels[1].rows", ["'half'", "valid number"]),
    ("levels.1.space", "dta", "levels[1].space", ["'dta'", "did you mean 'data'"]),
    ("levels.2.layer.output", "sigmod", "levels[2].layer.output", ["did you mean 'sigmoid'"]),
    ("levels.2.layer.latent", 0, "levels[2].layer.latent", ["greater than or equal to 1"]),
    ("levels.2.layer.latent", GONE, "levels[2].layer.latent", ["missing"]),
    ("levels.2.layer.hidden", [4, "a"], "levels[2].layer.hidden[1]", ["'a'", "integer"]),
    ("data.size", [8], "data.size[1]", ["missing"]),
    ("divergence.scale", math.nan, "", ["nan", "finite"]),
    ("divergence.scales", "x", "", ["'x'", "number", "; or ", "array"]),
    # components
    ("divergence", GONE, "", ["missing", "valid: energy"]),
    ("divergence", "energy", "", ["{ kind = 'energy', … }"]),
    ("divergence.kind", "enrgy", "", ["did you mean 'energy'"]),
    ("divergence.kind", "folder", "", ["'folder' is a data"]),
    ("divergence.kind", 3, "", ["found 3"]),
    ("divergence.kind", GONE, "", ["missing", "valid: energy"]),
    ("cost", {"kind": "odd"}, "", ["default", "exponent"]),
    # levels
    ("levels", [], "", ["none", "[[levels]]"]),
    ("levels", GONE, "", ["none", "[[levels]]"]),
    ("levels", {"layer": {}}, "", ["found {'layer'", "[[levels]]"]),
    ("levels.2.layer", "dense", "levels[2].layer", ["{ kind = 'dense', … }"]),
    ("levels.2.layer", GONE, "levels[2].layer", ["missing"]),
    ("levels.2", 3, "levels[2]", ["found 3", "[[levels]]"]),
    ("matched_level", 4, "", ["found 4", "from 1 to 3"]),
    ("matched_level", 0, "", ["found 0", "from 1 to 3"]),
    ("matched_level", True, "", ["found True"]),
    ("matched_level", 2.0, "", ["found 2.0"]),
    # weights
    ("weights", GONE, "", ["missing", "match"]),
    ("weights.match", GONE, "", ["missing"]),
    ("weights.match", -1.0, "", ["-1"]),
    ("weights.match", math.nan, "", ["nan"]),
    ("weights.match", "1", "", ["'1'", "number"]),
    ("weights.reconstruction", GONE, "", ["missing", "power"]),
    ("weights.reconstruction", -0.1, "", ["found -0.1", "greater than or equal to 0"]),
    ("weights.reconstruction", "0.1", "", ["found '0.1'", "{ rule = "]),
    ("weights.reconstruction", True, "", ["found True", "{ rule = "]),
    ("weights.regulariser", 2, "", ["no regulariser"]),
    ("weights.reconstruction", [0.1], "", ["holds 1", "takes 2"]),
    ("weights.reconstruction", [1, 1, 1], "", ["holds 3", "takes 2"]),
    ("weights.reconstruction", [1, "a"], "weights.reconstruction[1]", ["'a'", "number"]),
    ("weights.reconstruction", [1, -1.0], "weights.reconstruction[1]", ["-1"]),
    ("weights.reconstruction", [0.5, 0], "weights", ["w_3 = 0.001", "w_2 = 0"]),
    ("weights.reconstruction.rule", "powr", "", ["did you mean 'power'"]),
    ("weights.reconstruction.rule", GONE, "", ["missing", "power"]),
    ("weights.reconstruction.base", -0.1, "", ["-0.1"]),
    ("weights.reconstruction.base", 1e300, "weights", ["no usable number"]),
    ("weights.reconstruction", {**POWER, "base": 0.0, "first": -1.0}, "weights", ["no usable number"]),
    ("weights.regulariser", [1, 1, 1], "", ["no regulariser"]),
]


@pytest.mark.parametrize(("path", "value", "place", "words"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_at_its_place_and_nothing_else_is(
    path: str, value: Any, place: str, words: list[str], tmp_path: Path, registry: Registry
) -> None:
    found = mistakes(tmp_path, registry, edited({path: value}))
    assert list(found) == [place or path]
    for word in words:
        assert word in found[place or path]


def test_all_mistakes_are_told_at_once(tmp_path: Path, registry: Registry) -> None:
    places = {
        "epochs": 3,
        "data.epochs": 1,
        "train.learning_rte": 1,
        "levels.0.layer.hiden": [1],
        "levels.2.layer.latent": "2",
        "weights.match": math.nan,
        "train.batch_size": 1,
        "train.optimizer.lr": "1e-3",
        "divergence.kind": "enrgy",
    }
    found = mistakes(tmp_path, registry, edited(places))
    assert set(found) == {path.replace("levels.0", "levels[0]").replace("levels.2", "levels[2]") for path in places}


def test_a_mistake_elsewhere_starts_no_false_alarm_about_regularisers(tmp_path: Path, registry: Registry) -> None:
    edits = {"weights.regulariser": [1, 1, 1], "levels.0.regulariser": {"kind": "flat"}, "levels.0.layer.latent": "x"}
    assert list(mistakes(tmp_path, registry, edited(edits))) == ["levels[0].layer.latent"]


def test_failed_plugins_are_told_once_where_a_kind_is_unknown(tmp_path: Path) -> None:
    registry = Registry()
    registry.register(object(), name="broken", distribution="owae-broken")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, registry)
    assert len(caught.value.problems) > 1
    assert str(caught.value).count("owae-broken") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[data]\nkind = \n", ["not valid TOML", "line 2"]),
        (b"a = 1\na = 2\n", ["not valid TOML", "line 2"]),
        (b"[data]\nkind = '\xe9t\xe9'\n", ["not UTF-8", "0xe9", "line 2"]),
        (b"\x00\x01", ["not valid TOML"]),
        (b"", ["data", "levels", "weights", "divergence"]),
    ],
)
def test_a_file_that_is_no_config(content: bytes, words: list[str], tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Config.load(path, registry)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("[data]\nkind = \n", "kind = \n         ^"),
        ("[data]\r\npath = 'x'y\r\n[train]", "path = 'x'y\n            ^"),
        ("a = 1\n\tb == 2\n", " b == 2\n      ^"),
        ("a = [1, 2\n\n", "a = [1, 2\n           ^"),
        (f"a = [{'1, ' * 60}x]", f"{'1, ' * 20}x]\n  {' ' * 79}^"),
        ("\x00a = 1", " a = 1\n  ^"),
    ],
)
def test_a_mistake_in_the_syntax_shows_the_line_and_where(content: str, shown: str, tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(content.encode())
    with pytest.raises(ConfigError) as caught:
        Config.load(path, registry)
    assert str(caught.value).endswith(shown)


def test_a_file_that_is_not_there(tmp_path: Path, registry: Registry) -> None:
    load(tmp_path, registry)
    with pytest.raises(ConfigError, match=r"no such file; did you mean '.*/some\.toml'"):
        Config.load(tmp_path / "sume.toml", registry)
    with pytest.raises(ConfigError, match="no such file"):
        Config.load(tmp_path / "nowhere" / "some.toml", registry)
    with pytest.raises(ConfigError, match="is a folder"):
        Config.load(tmp_path, registry)
    with pytest.raises(ConfigError, match=r"cannot be read: .*null"):
        Config.load("some\0.toml", registry)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID.encode())
    assert Config.load(path, registry) == load(tmp_path, registry)
