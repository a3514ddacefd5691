"""`owae plugins check` tells of every law, in words, whether it holds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toys import Moments

from owae.cli import main
from owae.errors import ConfigError, PluginError
from owae.registry.registry import Entry, Registry
from owae_dev.laws import components, tried


class Spoilt(Moments):
    """A divergence with one thing wrong."""

    name = "spoilt"

    def __init__(self, *, way: str) -> None:
        super().__init__()
        self.way, self.calls = way, 0

    def forward(self, x, y):
        if self.way == "reseeded":
            torch.manual_seed(0)
        if self.way == "numpy reseeded":
            np.random.seed(0)
        self.calls += 1
        if self.way == "changed input":
            x.data += 1
        value = super().forward(x, y)
        ways = {
            "float": lambda: value.item(),
            "vector": lambda: value[None],
            "detached": lambda: value.detach(),
            "state": lambda: value * self.calls,
        }
        return ways.get(self.way, lambda: value)()


def entry(cls: type) -> Entry:
    return Entry("divergence", "spoilt", cls, "here", "here", "1")


@pytest.mark.parametrize(
    ("way", "law", "found"),
    [
        ("float", "gives a finite scalar", "returns a float"),
        ("vector", "gives a finite scalar", r"of shape \(1,\)"),
        ("detached", "Gradients reach both", "without a gradient"),
        ("reseeded", "sets no seed", "reseeds torch's"),
        ("numpy reseeded", "sets no seed", "reseeds numpy's"),
        ("state", "one seed, one value", "kept between calls"),
        ("changed input", "changes neither sample", "before and after"),
    ],
)
def test_what_is_wrong_is_told_by_its_law_and_the_other_laws_are_tried(way: str, law: str, found: str) -> None:
    outcome = tried(entry(Spoilt), [f"way={way}"])
    broken = [(name, why) for name, why in outcome.broken if law in " ".join(name.split())]
    assert broken, outcome
    import re

    assert re.search(found, broken[0][1]), broken
    assert len(outcome.laws) > len(outcome.broken)
    assert "fails" in str(outcome)
    assert f"found: {broken[0][1].splitlines()[0]}" in str(outcome)


def test_a_sound_one_keeps_every_law() -> None:
    outcome = tried(entry(Spoilt), ["way=sound"], ["translation_invariant=false"])
    assert not outcome.broken, outcome
    assert f"all {len(outcome.laws)} laws hold" in str(outcome)


def test_options_and_keywords_are_checked() -> None:
    with pytest.raises(ConfigError, match="way: is missing"):
        tried(entry(Spoilt))
    with pytest.raises(ConfigError, match="--law zero: no such keyword of check_divergence"):
        tried(entry(Spoilt), ["way=sound"], ["zero=false"])
    with pytest.raises(ConfigError, match="write --set key=value"):
        tried(entry(Spoilt), ["way"])


def test_names_stand_for_components_distributions_and_entry_points() -> None:
    assert {found.name for found in components("owae-layers")} == set(Registry.discover(["owae-layers"]).names("layer"))
    with pytest.raises(PluginError, match="did you mean 'mmd'"):
        components("mdd")
    with pytest.raises(PluginError, match="no laws for"):
        components("csv")


def test_the_command_ends_with_1_where_a_law_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plugins", "check", "standard-normal", "--json"])
    assert ended.value.code == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "standard-normal"
    assert all(law["holds"] for law in found["laws"])
    with pytest.raises(SystemExit) as ended:
        main(["plugins", "check", "standard-normal", "--law", "shape=[0]"])  # two draws of nothing are equal
    assert ended.value.code == 1
