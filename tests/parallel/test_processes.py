"""Training as a process: signals, sudden death, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from processes import OWAE, start, wait_for_checkpoint

from owae import Config, Registry
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.train import train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_and_ends(tmp_path: Path, number: signal.Signals, code: int):
    process = start(tmp_path)
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=900)
    assert process.returncode == code
    assert out == ""
    assert "is saved, --resume goes on" in err
    assert "Traceback" not in err
    run = open_run(tmp_path / "run")
    assert read_metrics(run.folder / "metrics.jsonl")[-1]["step"] == run.step
    path, registry = tmp_path / "tiny.toml", Registry.discover()
    train(Config.load(path, registry, [f"train.epochs={run.epoch + 2}"]), registry, out=run.folder, resume=True)
    lines = read_metrics(run.folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, (run.epoch + 2) * 4 + 1))


def test_a_second_signal_ends_at_once(tmp_path: Path):
    """With a step that never ends, as a stuck one."""
    code = (
        "import os, signal, time\n"
        "from owae.run.signals import Interrupts\n"
        "with Interrupts() as interrupts:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert interrupts.received == signal.SIGINT\n"
        "    print('first', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=900)
    assert process.returncode == 143


def test_sudden_death_leaves_a_whole_checkpoint(tmp_path: Path):
    """R3: `kill -9` twice, wherever the process happens to be; each run goes on from the last. The torture test does it more often."""
    reached = 0
    for attempt in range(2):
        process = start(tmp_path, "--resume")
        reached = wait_for_checkpoint(tmp_path, process, after=reached)
        time.sleep(0.03 * attempt)
        process.kill()
        process.communicate(timeout=900)
        run = open_run(tmp_path / "run")
        assert run.step >= reached
        assert run.model.sample(2).isfinite().all()
        reached = run.step


@pytest.mark.parametrize(("launcher", "environment"), [(OWAE, {}), (None, {"TERM": "dumb", "NO_COLOR": "1"})])
def test_output_to_a_pipe_or_file_is_plain_lines(tmp_path: Path, launcher: tuple[str, ...] | None, environment: dict[str, str]):
    """No carriage returns or colours, a few lines an epoch; results alone on stdout."""
    process = start(tmp_path, "--set", "train.epochs=3", launcher=launcher, **environment)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert out == f"{tmp_path / 'run'}\n"
    assert "\r" not in err
    assert "\x1b" not in err
    assert sum("epoch" in line for line in err.splitlines()) == 3
    assert len(err.splitlines()) <= 12


def test_a_terminal_gets_a_bar(tmp_path: Path):
    import pty

    tiny.config(tmp_path)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "owae", "train", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how a terminal tells that the other side is gone
            break
        if not part:
            break
        shown += part
    os.close(ours)
    out, _ = process.communicate(timeout=900)
    assert out.decode() == f"{tmp_path / 'run'}\n"
    assert b"epoch 2/2" in shown


def test_a_run_that_breaks_ends_with_an_error_and_a_whole_log(tmp_path: Path, command: Callable[..., tuple[object, str, str]]):
    """From the command line."""
    changes = ("--set", "train.optimizer.name=SGD", "--set", "train.optimizer.lr=1e6")
    code, out, err = command("train", tiny.config(tmp_path, epochs=500), "--out", tmp_path / "run", *changes)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert any(word in err for word in ("cost/", "divergence", "gradient"))
    assert "epoch 1, step" in err or "epoch 2, step" in err
    log = tmp_path / "run" / "metrics.jsonl"
    for line in log.read_text().splitlines() if log.exists() else []:
        json.loads(line)
