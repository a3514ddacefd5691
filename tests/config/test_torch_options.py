"""Optimisers and schedules of torch: all that a config can name can be had, and what torch would refuse is refused at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import declared
import pytest
import torch
from declared import edited, load, mistakes

from owae import Registry
from owae.training import optimizers


@pytest.fixture(scope="module")
def registry() -> Registry:
    return declared.registry()


MISTAKES: list[tuple[str, Any, str, list[str]]] = [
    ("train.optimizer", "Adam", "", ["{ name = 'Adam', … }"]),
    ("train.optimizer.name", "Admw", "", ["did you mean 'AdamW'"]),
    ("train.optimizer.name", "LBFGS", "", ["LBFGS", "cannot give", "Adam"]),
    ("train.optimizer.name", "SparseAdam", "", ["cannot give"]),
    ("train.optimizer.name", "__doc__", "", ["'__doc__'"]),
    ("train.optimizer.lr", "1e-3", "", ["'1e-3'", "number"]),
    ("train.optimizer.lr", 0.0, "", ["greater than 0"]),
    ("train.optimizer.lr", -1, "", ["greater than 0"]),
    ("train.optimizer.lr", math.nan, "", ["nan", "finite"]),
    ("train.optimizer.lr", True, "", ["True", "number"]),
    ("train.optimizer.betas", [0.9], "train.optimizer.betas[1]", ["missing"]),
    ("train.optimizer.betas", [0.9, 0.9, 0.9], "", ["at most 2"]),
    ("train.optimizer.betas", [0.9, "0.9"], "train.optimizer.betas[1]", ["'0.9'", "number"]),
    ("train.optimizer.betas", [0.9, 1.5], "train.optimizer", ["Adam", "1.5"]),
    ("train.schedule", {"name": "OneCycel", "max_lr": 1.0}, "train.schedule.name", ["did you mean 'OneCycleLR'"]),
    ("train.schedule", {"max_lr": 1.0}, "train.schedule.name", ["missing", "OneCycleLR"]),
    ("train.schedule", {"name": "OneCycleLR"}, "train.schedule.max_lr", ["missing"]),
    ("train.schedule", {"name": "OneCycleLR", "max_lr": "3e-3"}, "train.schedule.max_lr", ["'3e-3'", "number"]),
    ("train.schedule", {"name": "OneCycleLR", "max_lr": 1.0, "pct_start": 2.0}, "train.schedule", ["OneCycleLR", "pct_start"]),
    ("train.schedule", {"name": "LambdaLR"}, "train.schedule.name", ["LambdaLR", "cannot give"]),
    ("train.schedule", {"name": "SequentialLR", "milestones": [1]}, "train.schedule.name", ["cannot give"]),
    ("train.schedule", {"name": "ChainedScheduler"}, "train.schedule.name", ["cannot give"]),
    ("train.schedule", {"name": "ReduceLROnPlateau"}, "train.schedule.name", ["cannot give"]),
]


@pytest.mark.parametrize(("path", "value", "place", "words"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_at_its_place(
    path: str, value: Any, place: str, words: list[str], tmp_path: Path, registry: Registry
) -> None:
    found = mistakes(tmp_path, registry, edited({path: value}))
    assert list(found) == [place or path]
    for word in words:
        assert word in found[place or path]


# What each schedule demands that has no default.
DEMANDED: dict[str, dict[str, Any]] = {
    "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0, "cycle_momentum": False},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "ExponentialLR": {"gamma": 0.9},
    "MultiStepLR": {"milestones": [1, 2]},
    "OneCycleLR": {"max_lr": 0.1},
    "StepLR": {"step_size": 2},
}


@pytest.mark.parametrize("name", sorted({*optimizers.names("optimizer")} - {"Muon"}))
def test_every_optimiser_is_accepted(name: str, tmp_path: Path, registry: Registry) -> None:
    config = load(tmp_path, registry, edited({"train.optimizer": {"name": name, "lr": 1}}))
    options = dict(config.train.optimizer)
    made = getattr(torch.optim, options.pop("name"))([torch.zeros(2, requires_grad=True)], **options)
    assert made.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize("name", optimizers.names("schedule"))
def test_every_schedule_is_accepted(name: str, tmp_path: Path, registry: Registry) -> None:
    load(tmp_path, registry, edited({"train.schedule": {"name": name, **DEMANDED.get(name, {})}}))


def test_an_optimiser_of_matrices_only_is_refused(tmp_path: Path, registry: Registry) -> None:
    if "Muon" not in optimizers.names("optimizer"):
        pytest.skip("this torch has no Muon")
    assert "2D" in mistakes(tmp_path, registry, edited({"train.optimizer.name": "Muon"}))["train.optimizer"]


def test_the_trainers_own_choices_are_left_to_it_unless_made(tmp_path: Path, registry: Registry) -> None:
    assert not {"fused", "foreach", "capturable"} & set(load(tmp_path, registry).train.optimizer)
    assert load(tmp_path, registry, edited({"train.optimizer.fused": False})).train.optimizer["fused"] is False
    spans = {"name": "CosineAnnealingLR", "T_max": 30}
    assert load(tmp_path, registry, edited({"train.schedule": spans})).train.schedule == {**spans, "eta_min": 0.0}
    assert load(tmp_path, registry, edited({"train.schedule": {"name": "CosineAnnealingLR"}})).train.schedule == {
        "name": "CosineAnnealingLR",
        "eta_min": 0.0,
    }
