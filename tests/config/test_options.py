"""The options of a training: the page says what the record says, and options of earlier versions are understood."""

from __future__ import annotations

import inspect
import json
import logging
import re
import tomllib
from pathlib import Path
from typing import Any

import declared
import pytest
import tomli_w
from declared import edited, load
from interruption import contents

from owae.run import checkpoint
from owae.run.opened import open_run
from owae.training.options import Options

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def options_table() -> str:
    """The options as the Markdown table of the page: their `Attributes:`, their defaults, and which may change on resuming."""
    texts = inspect.cleandoc(Options.__doc__ or "").partition("Attributes:\n")[2]
    described = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", texts, re.MULTILINE))
    assert list(described) == list(Options.model_fields)
    rows = ["| key | default | may change | |", "|---|---|---|---|"]
    for name, field in Options.model_fields.items():
        resumable = "yes" if name in Options.resumable() else ""
        rows.append(f"| `{name}` | {_default(field.default)} | {resumable} | {' '.join(described[name].split())} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    if isinstance(value, dict):
        return f"`{{ {', '.join(f'{key} = {json.dumps(item)}' for key, item in value.items())} }}`"
    return f"`{json.dumps(value)}`" if value not in (None, []) else "none"


def test_the_page_holds_the_table_of_options() -> None:
    assert options_table() in PAGE.read_text()


# What version 0.1.0 called otherwise


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"stacked": 2, "weights.reconstruction": [0.5]}, {"matched_level": 2, "weights.reconstruction": [0.5]}),
        ({"train.strategy": "ddp"}, {}),
        ({"train.early_stopping": {}}, {"train.best": {"patience": 10}}),
        (
            {"train.early_stopping": {"metric": "validation/cost/1", "patience": 3, "mode": "max"}},
            {"train.best": {"metric": "validation/cost/1", "patience": 3, "mode": "max"}},
        ),
        (
            {"train.best": "validation/cost/0", "train.early_stopping": {"metric": "validation/loss", "patience": 3}},
            {"train.best": {"metric": "validation/cost/0", "patience": 3}},
        ),
    ],
    ids=str,
)
def test_old_keys_are_understood_and_said_once(
    old: dict[str, Any], new: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry, held_out = declared.registry(), {"train.validation": 0.5}
    with caplog.at_level(logging.INFO, "owae"):
        read = load(tmp_path, registry, edited(old | held_out))
    assert len(caplog.messages) == 1
    assert load(tmp_path, registry, edited(new | held_out)) == read
    assert len(caplog.messages) == 1


def test_a_set_of_an_old_key_and_of_an_old_file_beat_the_file(tmp_path: Path) -> None:
    registry, fewer = declared.registry(), "weights.reconstruction=[0.5]"
    assert load(tmp_path, registry, edited({"matched_level": 3}), "stacked=2", fewer).matched_level == 2
    assert load(tmp_path, registry, edited({"stacked": 3}), "matched_level=2", fewer).matched_level == 2


def test_a_run_of_an_earlier_version_opens_and_resumes(make_plain, tmp_path: Path) -> None:
    options = ("train.validation=0.25", "train.epochs=3", 'train.best={ metric = "validation/cost/0", patience = 50 }')
    straight = make_plain("straight", *options)
    folder = make_plain("old", *options, "train.epochs=2").folder
    info = json.loads((folder / "run.json").read_text())
    for saved in (config := tomllib.loads((folder / "config.toml").read_text()), info["config"]):
        saved["stacked"] = saved.pop("matched_level")
        train = saved["train"]
        train["strategy"], train["early_stopping"] = "auto", {**train.pop("best"), "mode": "min"}
        train["best"] = train["early_stopping"]["metric"]
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    (folder / "run.json").write_text(json.dumps(info))
    (path,) = checkpoint.paths(folder / "checkpoints")[:1]
    state = checkpoint.load(path)
    watched = state.pop("best")
    state["watches"] = {"best": watched, "early_stopping": watched}
    checkpoint.save(folder / "checkpoints", state, keep=1)

    assert open_run(folder).config.train.best == straight.config.train.best
    resumed = make_plain("old", *options, resume=True)
    for pattern in ("checkpoints/step-000000009*", "metrics.jsonl", "config.toml"):
        assert contents(straight.folder, pattern) == contents(resumed.folder, pattern) != {}
