"""Runs side by side: what is averaged, what is called the best, and what is not."""

from __future__ import annotations

import json

import pytest
from runs import run

from owae.errors import OwaeError
from owae_report.cli import compare as command
from owae_report.evaluation.comparison import compare, grouped
from owae_report.evaluation.whole import Options


def result(error: float, accuracy: float, kid: float, deviation: float | None = 0.1, other: float | None = None) -> dict:
    """An evaluation of one level by two extractors."""
    number = {"value": kid, "deviation": deviation, "floor": 0.0, "why": None}
    extractors = {"pixels": {"kid": number}, "classifier": {"kid": {**number, "value": kid if other is None else other}}}
    level = {"level": 1, "error": error, "accuracy": accuracy, "probe": None, "share": 0.5}
    return {"test": 400, "samples": {"seeds": [0, 1, 2, 3], "extractors": extractors}, "levels": [level]}


def cells(rows, name):
    (row,) = (row for row in rows if row.name == name)
    return row


def test_a_best_is_marked_where_it_is_clear_and_nowhere_else():
    results = {"a": result(10, 0.9, 1.0), "b": result(12, 0.89, 2.0), "c": result(11, 0.5, 2.0)}
    rows, warnings = compare(results, {name: [name] for name in results})
    assert cells(rows, "kid by pixels").best == "a"
    cell = cells(rows, "kid by pixels").cells["a"]
    assert cell is not None
    assert cell.error == pytest.approx(0.05)
    assert cells(rows, "z_1 accuracy").best is None, "0.9 and 0.89 of 400 are alike"
    assert cells(rows, "z_1 squared error").best is None, "one run each has no error"
    assert cells(rows, "z_1 share").best is None
    assert warnings == []


def test_nothing_is_best_of_runs_that_were_measured_on_other_data():
    results = {"a": result(10, 0.9, 1.0), "b": result(12, 0.5, 9.0)}
    rows, (warning,) = compare(results, {name: [name] for name in results}, {"a": "digits", "b": "letters"})
    assert all(row.best is None for row in rows)
    assert "different held-out examples (a; b)" in warning
    assert compare(results, {name: [name] for name in results}, {"a": "digits", "b": "digits"})[1] == []


def test_seeds_of_a_config_are_averaged_with_their_standard_error():
    results = {"a": result(10, 0.9, 1), "b": result(12, 0.9, 3), "c": result(20, 0.9, 9), "d": result(20.2, 0.9, 9.2)}
    rows, _ = compare(results, {"a": ["a", "b"], "c": ["c", "d"]})
    cell = cells(rows, "z_1 squared error").cells["a"]
    assert cell is not None
    assert (cell.value, cell.error) == pytest.approx((11, 1))
    assert cells(rows, "z_1 squared error").best == "a"


def test_extractors_that_rank_runs_differently_are_told():
    results = {"a": result(1, 0.9, 1.0, other=5.0), "b": result(1, 0.9, 2.0, other=4.0)}
    _, (warning,) = compare(results, {"a": ["a"], "b": ["b"]})
    assert "disagree in rank on kid: pixels: a < b; classifier: b < a" in warning


def test_configs_are_one_group_but_for_the_seed():
    a = {"train": {"seed": 0, "epochs": 2}, "data": {"kind": "x"}}
    configs = {"a": a, "b": {**a, "train": {"seed": 5, "epochs": 2}}, "c": {**a, "data": {"kind": "y"}}}
    assert grouped(configs) == {"a": ["a", "b"], "c": ["c"]}


@pytest.mark.slow
def test_the_command_prints_a_table_and_draws(digits, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "cache"))
    other = tmp_path / "other"
    shutil.copytree(digits.folder, other)
    found = run(command, digits.folder, other, "--seeds", 2, "--figures", tmp_path / "figures", "--json")
    assert found.exit_code == 0
    read = json.loads(found.stdout)
    assert read["groups"] == {"digits": ["digits", "other"]}
    assert all(row["cells"]["digits"]["error"] == 0 for row in read["rows"])
    assert read["warnings"] == []
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["reconstructions.png", "samples.png"]
    assert run(command, digits.folder, digits.folder).exit_code == 2


def test_features_that_do_not_exist_are_refused_before_anything_is_measured():
    for name in ("nope", "", "pixel", "file:nowhere"):
        with pytest.raises(OwaeError, match=r"--features .*valid: classifier"):
            Options(["pixels", name])
    Options(["pixels", "inception /weights.safetensors", "own.npz"])
