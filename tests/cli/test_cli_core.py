"""The command line: exit codes, what goes to which stream, what is refused before anything is made."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from installed import MAIN, environ, install, owae
from PIL import Image

from owae import Config, Registry
from owae.cli import main
from owae.config.build import build

FAULTS = """
import sys, time, logging
from owae.errors import DataError, InterruptionError

def mendable():
    raise DataError("the data [red]are[/red] missing: " + "put/them/here/" * 12)

def bug():
    return 1 / 0

def needs():
    import p_missing.inner
def stopped():
    raise InterruptionError("stopped", 15)

def sleeps():
    print("ready", flush=True)
    time.sleep(60)

def logs():
    for name in ("owae.some", "owae_p_faults", "elsewhere"):
        logger = logging.getLogger(name)
        logger.debug("%s details", name)
        logger.info("%s news", name)
        logger.warning("%s trouble", name)
    print("result")
"""


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line in this process: exit code, stdout, stderr. There are commands that fail in every way."""
    folder = tmp_path_factory.mktemp("site")
    faults = ("mendable", "bug", "needs", "stopped", "sleeps", "logs")
    install(folder, "owae-p-faults", FAULTS, commands={fault: fault for fault in faults})
    monkeypatch.syspath_prepend(str(folder))
    handlers, level = list(logging.root.handlers), logging.root.level

    def ran(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        out, err = capsys.readouterr()
        return exited.value.code, out, err

    ran.folder = folder  # pyright: ignore[reportFunctionMemberAccess] # for processes of their own
    yield ran
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


# Exit codes and streams


def test_what_the_user_can_mend_is_a_message(run) -> None:
    code, out, err = run("mendable")
    assert (code, out) == (2, "")
    assert err == "error: the data [red]are[/red] missing: " + "put/them/here/" * 12 + "\n"


def test_a_bug_is_a_traceback(run) -> None:
    code, out, err = run("bug")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError" in err
    assert "this is a bug in owae or in a plugin" in err


def test_a_package_that_is_missing_is_named(run) -> None:
    code, _, err = run("needs")
    assert (code, "Traceback" in err) == (2, False)
    assert "the package 'p_missing', which this needs, is not installed; pip install 'owae[all]'" in err


def test_a_signal_that_was_obeyed_gives_its_code(run) -> None:
    assert run("stopped")[0] == 143


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train"], "CONFIG"),
        (["train", "--nonsense"], "--nonsense"),
        (["train", "x.toml", "--resume", "--overwrite"], "contradicts --overwrite"),
        (["check", "x.toml", "--shape", "1x28xa"], "1x28xa"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], words: str, run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_an_interrupt_ends_in_130(run) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "sleeps"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(run.folder)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_logs_go_to_stderr_and_results_to_stdout(run) -> None:
    code, out, err = run("logs")
    assert (code, out) == (0, "result\n")
    assert err.splitlines() == [
        "owae.some news",
        "warning: owae.some trouble",
        "owae_p_faults news",
        "warning: owae_p_faults trouble",
        "warning: elsewhere trouble",
    ]
    assert "news" not in run("--quiet", "logs")[2]
    verbose = run("--verbose", "logs")[2]
    assert "debug: owae.some details" in verbose
    assert "elsewhere details" not in verbose


@pytest.mark.skipif(os.name == "nt", reason="needs pseudo-terminals")
@pytest.mark.parametrize(
    ("environment", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)]
)
def test_colours_are_for_terminals_that_want_them(environment: dict[str, str], coloured: bool, run) -> None:
    import pty

    ours, theirs = pty.openpty()
    variables = environ(run.folder, **environment)
    subprocess.run([sys.executable, "-c", MAIN, "mendable"], stderr=theirs, stdout=theirs, env=variables, timeout=900, check=False)
    os.close(theirs)
    written = os.read(ours, 10_000)
    os.close(ours)
    assert b"missing" in written
    assert (b"\x1b[" in written) == coloured


# P3


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["nonsense"]])
def test_help_does_not_wait_for_torch(arguments: list[str]) -> None:
    script = f"""
import atexit, sys
from owae.cli import main
heavy = ("torch", "numpy", "PIL")
atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))
main({arguments!r})
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=900, env=environ(None, OWAE_PLUGINS=""), check=False
    )
    assert ran.returncode == (2 if arguments == ["nonsense"] else 0)
    assert ran.stderr.splitlines()[-1] == "[]"


def test_the_version_is_printed(run) -> None:
    import owae

    assert run("--version")[:2] == (0, f"owae {owae.__version__}\n")


# P2

REFUSED = {
    "unknown key": ("train.learning_rte=1", ["train.learning_rte", "did you mean 'lr'"]),
    "wrong table": ("epochs=3", ["epochs", "'epochs' belongs in [train]"]),
    "unknown option": ("levels.0.layer.hiden=[1]", ["levels[0].layer.hiden", "did you mean 'hidden'"]),
    "string for a number": ('train.optimizer.lr="1e-3"', ["train.optimizer.lr", "'1e-3'"]),
    "fraction": ("train.epochs=1.5", ["train.epochs", "1.5"]),
    "negative": ("train.epochs=-1", ["train.epochs", "-1"]),
    "boolean": ("train.epochs=true", ["train.epochs", "True"]),
    "no levels": ("levels=[]", ["levels", "[[levels]]"]),
    "too few weights": ("weights.reconstruction=[]", ["weights.reconstruction", "takes 1"]),
    "nan": ("weights.match=nan", ["weights.match", "nan"]),
    "output of the wrong range": ("levels.0.layer.output=tanh", ["levels[0].layer", 'output = "sigmoid"']),
    "no such data": ("data.path=nowhere.npz", ["nowhere.npz"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_refused_and_leaves_no_run(name: str, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    override, words = REFUSED[name]
    config = tiny.config(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in ("train", "check"):
        code, out, err = run(command, str(config), "--set", override)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        for word in words if name == "no such data" else [str(config), *words]:
            assert word in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npz", "tiny.toml"]


def test_a_file_that_is_not_there_is_refused(run, tmp_path: Path) -> None:
    tiny.config(tmp_path)
    code, _, err = run("train", str(tmp_path / "tinny.toml"))
    assert code == 2
    assert f"did you mean '{tmp_path / 'tiny.toml'}'" in err


# check


def test_check_prints_the_levels(run, tmp_path: Path) -> None:
    code, out, _ = run("check", str(tiny.config(tmp_path)), "--set", "weights.match=0.125")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "mlp", "16,", "16", "1×8×8", "8", "8", "3,152", "squared-euclidean", "on", "z_0", "1"] in lines
    assert ["2", "mlp", "16,", "16", "8", "2", "2", "1,140", "squared-euclidean", "on", "z_1", "0.5"] in lines
    assert "divergence at z_2: mmd, weight 0.125" in out
    assert "total: 4,292 parameters" in out
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_check_says_in_json_what_would_train(run, tmp_path: Path) -> None:
    config = tiny.config(tmp_path)
    code, out, _ = run("check", str(config), "--json", "--set", "matched_level=1", "--set", "weights.reconstruction=[]")
    assert code == 0
    found = json.loads(out)
    registry = Registry.discover()
    stack = build(Config.load(config, registry, ["matched_level=1", "weights.reconstruction=[]"]), registry).stack
    assert found["weights"] == list(stack.weights)
    assert [level["weight"] for level in found["levels"]] == [1.0, None]
    assert found["parameters"] == sum(parameter.numel() for parameter in stack.parameters())
    assert (found["data"]["train"] + found["data"]["test"], found["data"]["shape"]) == (64, [1, 8, 8])
    assert "ancestral" in run("check", str(config), "--set", "matched_level=1", "--set", "weights.reconstruction=[]")[1]


def test_check_names_the_classes(run, tmp_path: Path) -> None:
    for value, name in enumerate(["1", "10", "2"] * 3):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("L", (8, 8), value).save(tmp_path / name / f"{value}.png")
    config = tiny.config(tmp_path)
    config.write_text(config.read_text().replace('kind = "arrays"\npath = "images.npz"', 'kind = "image-folder"\npath = "."'))
    code, out, said = run("check", str(config))
    assert code == 0, said
    assert "classes: 1, 10, 2\n" in out
    assert json.loads(run("check", str(config), "--json")[1])["data"]["class_names"] == ["1", "10", "2"]


def test_check_with_a_shape_leaves_the_data_alone(run, tmp_path: Path) -> None:
    config = tiny.config(tmp_path)
    (tmp_path / "images.npz").unlink()
    assert run("check", str(config))[0] == 2
    code, out, _ = run("check", str(config), "--shape", "1x8x8")
    assert code == 0
    assert "not opened" in out
    assert "3,152" in out


# train


def test_train_prints_the_run_folder_alone_and_set_beats_the_file(run, tmp_path: Path) -> None:
    code, out, _ = run("train", str(tiny.config(tmp_path)), "--out", str(tmp_path / "run"), "--set", "train.epochs=1")
    assert (code, out) == (0, f"{tmp_path / 'run'}\n")
    saved = Config.load(tmp_path / "run" / "config.toml", Registry.discover())
    assert saved.train.epochs == 1
    assert saved.to_dict()["data"]["path"] == str(tmp_path / "images.npz")


def test_paths_on_the_command_line_are_expanded(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.config(tmp_path, epochs=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.delenv("NOWHERE", raising=False)
    assert run("train", "$SCRATCH/tiny.toml", "--out", "~/run")[:2] == (0, f"{tmp_path / 'run'}\n")
    code, out, err = run("train", "$SCRATCH/tiny.toml", "--out", "$NOWHERE/run")
    assert (code, out) == (2, "")
    assert "found '$NOWHERE/run', but the environment variable NOWHERE is not set" in err
    assert run("evaluate", "~/run", "--quick")[0] == 0


def test_python_runs_owae_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "owae", "--version"], capture_output=True, text=True, timeout=900, check=False)
    assert ran.stdout == owae("--version").stdout
