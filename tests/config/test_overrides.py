"""`--set key=value` beats the file, and is named in messages about what it set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import declared
import pytest
from declared import VALID, edited, load, mistakes

from owae import Registry
from owae.errors import ConfigError


@pytest.fixture(scope="module")
def registry() -> Registry:
    return declared.registry()


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=7", "train.epochs", 7),
        (" train.epochs = 7 ", "train.epochs", 7),
        ("train.optimizer.lr=3e-4", "train.optimizer.lr", 3e-4),
        ("train.optimizer.betas=[0.5, 0.9]", "train.optimizer.betas", [0.5, 0.9]),
        ("train.device=cpu", "train.device", "cpu"),
        ('train.device="cpu"', "train.device", "cpu"),
        ("train.schedule.name=CosineAnnealingLR", "train.schedule.name", "CosineAnnealingLR"),
        ("levels.0.layer.latent=16", "levels.0.layer.latent", 16),
        ("levels[0].layer.latent=16", "levels.0.layer.latent", 16),
        ("levels[2].space=data", "levels.2.space", "data"),
        ("weights.reconstruction=[0.5, 0.25]", "weights.reconstruction", [0.5, 0.25]),
        ("cost.kind=euclidean", "cost.kind", "euclidean"),
        ('divergence={kind="energy", scale=2.5}', "divergence.scale", 2.5),
        ("matched_level=1", "matched_level", 1),
        ("data.path=/a=b", "data.path", "/a=b"),
    ],
)
def test_set_beats_the_file(override: str, path: str, value: Any, tmp_path: Path, registry: Registry) -> None:
    found: Any = load(tmp_path, registry, VALID, override).to_dict()
    for part in path.split("."):
        found = found[int(part) if part.isdecimal() else part]
    assert found == value


def test_the_last_set_wins(tmp_path: Path, registry: Registry) -> None:
    assert load(tmp_path, registry, VALID, "train.epochs=4", "train.epochs=5").train.epochs == 5


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs", ["key=value"]),
        ("=3", ["key=value"]),
        ("data.path=", ["no value, as of a variable that is not set"]),
        ("train..epochs=3", ["key=value"]),
        ("levels[-1].space=data", ["key=value"]),
        ("levels[3].space=data", ["list of 3"]),
        ("levels.first.space=data", ["list of 3"]),
        ("train.epochs.more=3", ["train.epochs is 3"]),
        ("train.epoch=3", ["did you mean 'epochs'"]),
        ("train.epochs=1.5", ["1.5", "integer"]),
        ("train.optimizer.lr=fast", ["'fast'"]),
        ("levels[1].layer.latent=-1", ["-1"]),
        ("levels.1.layer.latent=-1", ["-1"]),
        ("weights.reconstruction=[1]", ["holds 1"]),
    ],
)
def test_mistakes_of_a_set_name_it(override: str, words: list[str], tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, registry, VALID, override)
    assert f"--set {override}" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_mistakes_of_the_file_do_not_name_a_set(tmp_path: Path, registry: Registry) -> None:
    assert "--set" not in mistakes(tmp_path, registry, edited({"train.epochs": -1}), "train.epochs_=1")["train.epochs"]
