"""The effective config holds every default and reads back equal; paths are absolute in it."""

from __future__ import annotations

import tomllib
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


@pytest.mark.parametrize(
    "edits",
    [
        {},
        {"matched_level": 1},
        {"matched_level": 2, "weights.reconstruction": [0.25]},
        {"matched_level": 1, "weights.reconstruction": GONE},
        {"weights.reconstruction": 0.3},
        {"regulariser": {"kind": "flat"}},
        {"levels.1.regulariser": {"kind": "flat"}, "weights.regulariser": {"rule": "exponential", "scale": 2.5, "last": 2}},
        {"levels.1.cost": {"kind": "euclidean"}, "levels.1.space": "data", "weights.reconstruction": {"rule": "constant"}},
        {"levels.0.layer.extras": [{"width": 4}, {"depth": 1}], "divergence.scales": [1, 2, 3]},
        {"data.others": ["a", "/b"], "data.cache": "~/cache"},
        {"train": GONE},
        {"train.optimizer": {"lr": 1}},
        {"train.optimizer": {"name": "SGD", "momentum": 0.9}, "train.schedule": {"name": "CosineAnnealingLR"}},
        {"train.schedule": {"name": "OneCycleLR", "max_lr": 1}, "train.clip_gradients": 1},
        {"train.schedule": {"name": "MultiStepLR", "milestones": [3, 5]}},
    ],
    ids=str,
)
def test_the_effective_config_reads_back_equal(edits: dict[str, Any], tmp_path: Path, registry: Registry) -> None:
    config = load(tmp_path, registry, edited(edits))
    elsewhere = tmp_path / "runs"
    elsewhere.mkdir()
    again = load(elsewhere, registry, config.to_toml())
    assert again == config
    assert again.to_toml() == config.to_toml()
    assert Config.from_dict(config.to_dict(), registry, folder=elsewhere) == config


def test_the_effective_config_holds_every_default(tmp_path: Path, registry: Registry) -> None:
    values = load(tmp_path, registry).to_dict()
    assert values["matched_level"] == 3
    assert values["cost"] == {"kind": "squared-euclidean"}
    assert values["prior"] == {"kind": "standard-normal"}
    assert values["divergence"] == {"kind": "energy", "scale": 1.0, "scales": [1.0, 2.0]}
    assert values["levels"][1] == {
        "layer": {"kind": "dense", "latent": 4, "hidden": [8, 8], "output": "linear", "extras": []},
        "space": "latent",
        "target": "code",
        "rows": 1.0,
    }
    assert values["weights"]["reconstruction"] == {**POWER, "first": 1.0, "step": 1.0}
    assert values["train"]["batch_size"] == 128
    assert values["train"]["optimizer"]["betas"] == [0.9, 0.999]


def test_configs_differ_where_they_say_different_things(tmp_path: Path, registry: Registry) -> None:
    config = load(tmp_path, registry)
    for change in ("train.epochs=4", "levels.0.layer.latent=9", "divergence.scale=2", "weights.match=1", "levels.0.space=data"):
        assert load(tmp_path, registry, VALID, change) != config


def test_what_toml_cannot_say_is_refused_from_python(registry: Registry) -> None:
    values = tomllib.loads(VALID)
    values["divergence"]["scale"] = None
    values["levels"][0]["layer"]["hidden"] = [None]
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(values, registry)
    assert {"divergence.scale", "levels[0].layer.hidden[0]"} <= {problem.place for problem in caught.value.problems}


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    config = load(tmp_path, registry, edited({"data.others": ["../a", "/b"], "data.cache": "~/c"}))
    options: Any = config.data.options
    assert options.path == tmp_path / "pictures"
    assert options.others == [tmp_path / "../a", Path("/b")]
    assert options.cache == Path("/somebody/c")
    assert config.to_dict()["data"]["path"] == str(tmp_path / "pictures")


def test_a_number_weighs_every_level_alike(tmp_path: Path, registry: Registry) -> None:
    for number in (0.3, 1, 0):
        config = load(tmp_path, registry, edited({"weights.reconstruction": number, "weights.match": float(number)}))
        assert config.to_dict()["weights"]["reconstruction"] == {"rule": "constant", "value": number}
        assert config.weights.products([4, 2, 1]) == (number, number, number)
    regularised = {"regulariser": {"kind": "flat"}, "weights.regulariser": 2}
    assert load(tmp_path, registry, edited(regularised)).weights.penalty_weights([4, 2, 1]) == (2.0, 2.0, 2.0)


def test_variables_in_paths_are_expanded(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("NAME", "pictures")
    config = load(tmp_path, registry, edited({"data.path": "$SCRATCH/data", "data.others": ["${NAME}/a", "x${NAME}$NAME"]}))
    options: Any = config.data.options
    assert options.path == Path("/scratch/me/data")
    assert options.others == [tmp_path / "pictures/a", tmp_path / "xpicturespictures"]
    assert config.to_dict()["data"]["path"] == "/scratch/me/data"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_refused_by_name_and_place(
    value: str | None, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCRATCH", raising=False)
    if value is not None:
        monkeypatch.setenv("SCRATCH", value)
    found = mistakes(tmp_path, registry, edited({"data.others": ["/a", "${SCRATCH}/data"]}))
    assert list(found) == ["data.others[1]"]
    for word in ("'${SCRATCH}/data'", "variable SCRATCH is not set"):
        assert word in found["data.others[1]"]


@pytest.mark.parametrize(("edits", "place"), [({"data.path": ""}, "data.path"), ({"data.others": ["/a", ""]}, "data.others[1]")])
def test_an_empty_path_is_refused_at_its_place(edits: dict[str, Any], place: str, tmp_path: Path, registry: Registry) -> None:
    assert mistakes(tmp_path, registry, edited(edits)) == {place: "found an empty path; '.' would mean the config's own folder"}
    own = load(tmp_path, registry, edited({"data.path": ".", "data.others": ["."]})).to_dict()["data"]
    assert (own["path"], own["others"]) == (str(tmp_path), [str(tmp_path)])


def test_a_relative_config_gives_absolute_paths(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    load(tmp_path, registry)
    monkeypatch.chdir(tmp_path)
    assert Config.load("some.toml", registry).to_dict()["data"]["path"] == str(tmp_path / "pictures")


def test_a_config_says_its_version_and_a_newer_one_is_refused_before_its_keys(tmp_path: Path, registry: Registry) -> None:
    config = load(tmp_path, registry)
    assert config.to_toml().startswith("version = 1\n")
    assert load(tmp_path, registry, edited({"version": 1})) == config
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, registry, edited({"version": 2, "invented_later": 3}))
    assert [problem.place for problem in caught.value.problems] == ["version"]
    assert "found 2; this owae reads configs up to version 1" in str(caught.value)
    for wrong in (0, "1", 1.5, True):
        assert mistakes(tmp_path, registry, edited({"version": wrong})).keys() == {"version"}
