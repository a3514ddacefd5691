"""`owae evaluate`: what it prints where, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from runs import run, runs

from owae.errors import OwaeError
from owae_report import room
from owae_report.cli import evaluate

__all__ = ["runs"]


def test_no_run_is_a_clear_error(runs):
    assert isinstance(run(evaluate, "nothing").exception, OwaeError)


@pytest.mark.parametrize("option", ["--neighbours", "--batch-size"])
def test_numbers_out_of_range_are_refused(runs, tmp_path, option):
    result = run(evaluate, "image", option, "0")
    assert result.exit_code == 2
    assert option.strip("-") in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "image").exists()


def test_more_neighbours_than_there_are_all_vote_and_memory_holds_them(runs, monkeypatch):
    few, many = (json.loads(run(evaluate, "image", "--json", "--quick", "--neighbours", k).stdout) for k in (40, 10**9))
    assert many == few
    monkeypatch.setattr(room, "_free", lambda: 2**14)
    refused = run(evaluate, "image", "--quick", "--neighbours", 10**9).exception
    assert isinstance(refused, OwaeError)
    assert re.match("40 neighbours of every held-out example in 2 levels would take about 36,800 bytes", str(refused))


def test_json_stands_alone_on_stdout(runs):
    result = run(evaluate, "image", "--json")
    read = json.loads(result.stdout)
    assert "compiling" in result.stderr
    assert (read["step"], read["epoch"], read["test"], read["train"]) == (12, 3, 23, 40)
    assert [level["shape"] for level in read["levels"]] == [[6], [3]]
    assert read["matching"]["description"] == {"divergence": "chatty"}


def test_the_table_has_every_level_and_no_drawing_in_a_pipe(runs):
    result = run(evaluate, "image", "--neighbours", 3)
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[0] == "level"
    assert "3-NN accuracy" in lines[0]
    assert [line.split()[:2] for line in lines[1:3]] == [["z_1", "6"], ["z_2", "3"]]
    assert "chatty, n = 23" in result.stdout
    assert not set("│┃━─\x1b") & set(result.stdout)
    assert "–" in run(evaluate, "odd").stdout.splitlines()[1]


def test_help_needs_no_torch():
    code = "import sys; from owae_report.cli import evaluate; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
