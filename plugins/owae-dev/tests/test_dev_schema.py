"""The schema takes every example, refuses what the config refuses, and has every key and component."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from owae import Registry
from owae.config.config import Config
from owae.registry.options import options_model
from owae.training.options import Options
from owae_dev.schema import schema

ROOT = Path(__file__).parents[3]
DIGITS = tomllib.loads((ROOT / "examples" / "digits.toml").read_text())


@pytest.fixture(scope="module")
def validator(registry: Registry) -> jsonschema.Draft202012Validator:
    found = schema(registry)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.toml")), ids=lambda path: path.name)
def test_it_takes_every_example(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    values = tomllib.loads(path.read_text())
    if "sliced-example" not in path.read_text() and "project" not in values:
        validator.validate(values)


def test_it_takes_an_effective_config(validator: jsonschema.Draft202012Validator, registry: Registry) -> None:
    validator.validate(Config.load(ROOT / "examples" / "svhn.toml", registry).to_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"divergance": {"kind": "mmd"}},
        {"divergence": {"kind": "mdd"}},
        {"divergence": {"kind": "mmd", "kernal": "imq"}},
        {"levels": []},
        {"train": {"epochs": 0}},
        {"train": {"epochs": "many"}},
        {"train": {"precision": "8"}},
        {"weights": {"match": -1}},
        {"weights": {"match": 1, "reconstruction": {"rule": "powder", "base": 1}}},
        {"cost": {"kind": "mmd"}},
        {"matched_level": 0},
    ],
)
def test_it_refuses_what_the_config_refuses(change: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    values = copy.deepcopy(DIGITS) | change
    assert not validator.is_valid(values)


def test_it_has_every_key_and_every_component_with_its_options(registry: Registry) -> None:
    found = schema(registry)
    assert set(Config.model_fields) | set(registry.names("phase")) <= set(found["properties"])
    train = found["$defs"]["Train"]["properties"]
    assert set(train) == set(Options.model_fields)
    assert all(one.get("description") for one in train.values())
    tables = {one["properties"]["kind"]["const"]: one for one in found["$defs"].values() if "kind" in one.get("properties", {})}
    for entry in registry.entries:
        if entry.interface not in ("observer", "phase"):
            assert set(tables[entry.name]["properties"]) == {"kind", *options_model(entry.cls).model_fields}, entry.name
