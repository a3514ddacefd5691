"""`owae bench divergences`: what it finds, what it measures, what it prints where."""

import csv
import inspect
import json
import logging
import re
import subprocess
import sys
from typing import ClassVar, Literal

import pytest
import torch
from typer.testing import CliRunner

from owae.interfaces import Divergence
from owae.registry.registry import Entry, Registry
from owae_bench.bench import Worker, expected_seconds, run
from owae_bench.cases import Case, cases
from owae_bench.cli import app, divergences
from owae_bench.measure import measure

STRANGERS = """
from typing import Literal
import os, time
import torch
import owae

class Plain(owae.Divergence):
    name = "stranger"

    def __init__(self, *, backend: Literal["dense", "rounded"] = "dense", factor: float = 1.0) -> None:
        super().__init__()
        self.backend, self.factor = backend, factor
        print("a library that prints to stdout")
        os.system("echo and one that does so from C")

    def forward(self, x, y):
        value = self.factor * (x.mean(0) - y.mean(0)).square().sum()
        return value * 1.01 if self.backend == "rounded" else value

class Slow(Plain):
    name = "slow"

    def __init__(self) -> None:
        owae.Divergence.__init__(self)

    def forward(self, x, y):
        time.sleep(60)

class Fatal(Slow):
    name = "fatal"

    def forward(self, x, y):
        os.kill(os.getpid(), 9)

class Raises(Slow):
    name = "raises"

    def forward(self, x, y):
        raise RuntimeError("no such\\nluck")

class Random(Slow):
    name = "random"

    def forward(self, x, y):
        return (x.mean(0) - y.mean(0)).square().sum() * (1 + torch.rand(()))

class Needy(Plain):
    name = "needy"

    def __init__(self, *, needed: int) -> None:
        owae.Divergence.__init__(self)

@owae.hookimpl
def owae_components():
    return [Plain, Slow, Fatal, Raises, Random, Needy]
"""


@pytest.fixture
def strangers(tmp_path_factory, monkeypatch):
    """A third party's distribution on the path of this process and of its children."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "strangers.py").write_text(STRANGERS)
    info = folder / "strangers-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[owae]\nstrangers = strangers\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("OWAE_PLUGINS", "strangers")
    yield
    sys.modules.pop("strangers", None)


QUICK = {"device": "cpu", "repeats": 2, "against": "samples"}


def invoke(*arguments):
    return CliRunner().invoke(app, ["divergences", "--sizes", "16", "--dims", "3", "--device", "cpu", "--repeats", "2", *arguments])


# What it measures


class Counted(Divergence):
    name = "counted"
    calls: ClassVar = []

    def __init__(self, *, backend: Literal["auto", "dense"] = "auto") -> None:
        super().__init__()

    def forward(self, x, y):
        self.calls.append(x.dtype)
        return (x - y).square().mean()


@pytest.mark.slow
def test_slow_calls_are_not_repeated_and_float64_is_computed_once_for_all_backends(tmp_path, monkeypatch):
    monkeypatch.setattr("owae_bench.measure.ENOUGH_SECONDS", 1e-9)  # all are slow
    made = Registry()
    made.entries.append(Entry("divergence", "counted", Counted, "plugin", "one", "1"))
    for case in cases(made):
        asked = {key: getattr(case, key) for key in ("distribution", "plugin", "name", "options", "reference")}
        result = measure(made, asked | {"n": 4, "d": 2, "shared": str(tmp_path)} | QUICK)
        assert (result["repeats"], result["forward_spread"]) == (1, None)
        assert result["value_error"] < 1e-6
    assert Counted.calls.count(torch.float64) == 1
    assert len(Counted.calls) == 2 * 5 + 1  # the first and a warm one, with gradient and without, and one for the memory


PEAK = """
import torch
from owae_bench.memory import peak_bytes

held = torch.ones(5_000_000)

def call():
    return (held + 1).sum()  # 20 MB, not kept

call()
print(peak_bytes(call, torch.device("cpu")))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_peak_memory_is_what_a_call_adds_and_gives_back():
    # In a process of its own, as every measurement is: the growth of the resident memory is that of all a process's threads.
    said = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=900).stdout
    assert 19e6 < int(said) < 30e6


@pytest.mark.slow
def test_a_stranger_is_measured_and_what_fails_stops_nothing(strangers, tmp_path):
    named = [part for name in ("stranger", "fatal", "raises", "random", "needy") for part in ("--divergence", name)]
    written = ["--csv", str(tmp_path / "deep" / "rows.csv"), "--plot", str(tmp_path / "times.png")]
    result = invoke("--json", *named, *written)
    assert result.exit_code == 0, result.exception
    record = json.loads(result.stdout)
    rows = {row["divergence"] + row["backend"]: row for row in record["rows"]}
    assert set(rows) == {"strangerdense", "strangerrounded", "fatal", "raises", "random", "needy"}
    dense, rounded = rows["strangerdense"], rows["strangerrounded"]
    assert dense["reason"] == ""
    assert (dense["n"], dense["d"], dense["distribution"], dense["repeats"]) == (16, 3, "strangers", 2)
    assert 0 < dense["forward"] < 1
    assert 0 < dense["both"] < 1
    assert dense["compile"] >= 0
    assert dense["value_error"] < 1e-5
    assert dense["gradient_error"] < 1e-5
    assert rounded["value_error"] == pytest.approx(0.01, rel=1e-3)
    assert rounded["gradient_error"] == pytest.approx(0.01, rel=1e-3)
    assert rows["random"]["reason"] == ""
    assert "value_error" not in rows["random"]
    assert "SIGKILL" in rows["fatal"]["reason"]
    assert rows["raises"]["reason"] == "RuntimeError: no such"
    assert "needed" in rows["needy"]["reason"]
    assert record["where"]["device"] == "cpu"
    with (tmp_path / "deep" / "rows.csv").open() as file:
        assert [row["divergence"] for row in csv.DictReader(file)] == [row["divergence"] for row in record["rows"]]
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_what_takes_too_long_is_stopped(strangers):
    (row,) = run(cases(Registry.discover(), ["slow"]), [8], [2], limit=1, **QUICK)
    assert row.reason == "stopped after 1 s"


@pytest.mark.slow
def test_the_table_lists_the_measured_and_why_the_others_are_not(strangers):
    result = invoke("--divergence", '{ kind = "stranger", factor = 2.0, backend = "dense" }', "--divergence", "raises")
    assert result.exit_code == 0, result.exception
    assert "stranger factor=2.0 backend=dense" in result.stdout
    assert "not measured: raises, n = 16, d = 3: RuntimeError: no such" in result.stdout
    assert "prints to stdout" not in result.stdout


@pytest.mark.slow
def test_how_long_it_will_take_is_said_before_anything_is_measured(strangers, caplog):
    caplog.set_level(logging.INFO, "owae_bench")
    assert invoke("--divergence", "raises").exit_code == 1  # nothing could be measured
    said = [bool(re.match(r"1 measurements: about \d+ s on a CPU", message)) for message in caplog.messages]
    begun = caplog.messages.index("raises: compiling and measuring")
    assert sum(said) == sum(said[:begun]) == 1, caplog.messages


def test_the_defaults_are_expected_to_answer_within_a_minute():
    defaults = {each.name: each.default for each in inspect.signature(divergences).parameters.values()}
    sizes, dims = ([int(number) for number in defaults[key].split(",")] for key in ("sizes", "dims"))
    count = len(cases(Registry.discover()))
    assert count >= 14
    assert expected_seconds(count, sizes, dims, defaults["repeats"]) < 60


def test_the_expected_time_grows_with_what_is_measured():
    few = expected_seconds(3, [128], [2], 10)
    for more in ((4, [128], [2], 10), (3, [128, 1024], [2], 10), (3, [256], [2], 10), (3, [128], [2, 32], 10), (3, [128], [2], 20)):
        assert expected_seconds(*more) > few


@pytest.mark.slow
def test_the_prior_can_stand_on_the_other_side(strangers):
    (row,) = run(cases(Registry.discover(), ["stranger"], ["dense"]), [8], [2], limit=60, **QUICK | {"against": "prior"})
    assert row.reason == ""
    assert "value_error" not in row.result  # draws of the prior, which are other draws in float64


@pytest.mark.slow
def test_a_worker_that_died_is_started_again(strangers, tmp_path):
    case = {"distribution": "strangers", "plugin": "strangers", "options": {}, "reference": {}, "shared": str(tmp_path)}
    with Worker() as worker:
        dead, alive = (worker.ask(case | {"name": name, "n": 4, "d": 2} | QUICK, 60) for name in ("fatal", "stranger"))
    assert "SIGKILL" in dead["reason"]
    assert alive["both"] > 0


def test_a_case_that_cannot_be_made_starts_no_process(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    (row,) = run([Case("d", "p", "name", flaw="is missing")], [8], [2], limit=60, **QUICK)
    assert row.reason == "is missing"


# The command line


@pytest.mark.parametrize(
    "arguments",
    [["--sizes", "a"], ["--sizes", ""], ["--dims", "0"], ["--sizes", "1.5"], ["--plot", "times.txt"], ["--against", "me"]],
)
def test_mistakes_on_the_command_line_are_refused_at_once(arguments):
    assert invoke(*arguments).exit_code == 2


def test_listing_it_imports_nothing_heavy():
    code = "import sys, owae_bench.cli; assert not {'torch', 'matplotlib', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)


def test_owae_has_it_as_a_command():
    done = subprocess.run(
        [sys.executable, "-c", "from owae.cli import main; main()", "bench", "divergences", "--help"],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert "--backends" in done.stdout
