"""`owae train` on two devices: real processes over gloo, started by owae itself and by torchrun."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from processes import OWAE, free_port, start, training, wait_for_checkpoint, wait_until_gone
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]

from owae import Config, Registry
from owae.parallel import launch
from owae.run import checkpoint
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.train import train

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]

Command = Callable[..., tuple[object, str, str]]
EXAMPLES = Path(__file__).parents[2] / "examples"
TWO = ("--devices", "2", "--device", "cpu")


def torchrun(*options: str, program: Sequence[str] = OWAE) -> Sequence[str]:
    """Starts owae twice. By itself torchrun takes one port on every machine, which a test beside this one may have."""
    run = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))
    return (*run, *options, "--no-python", *program)


def lines(run: Path) -> list[dict[str, Any]]:
    return read_metrics(run / "metrics.jsonl")


def test_two_processes_train_the_digits_as_well_as_one(tmp_path: Path, registry: Registry):
    """The example as it stands, by one process and by two with the same global batch; each draws noise of its own."""
    options = ["train.epochs=2", "train.log_every=1", "train.device=cpu"]
    whole = train(Config.load(EXAMPLES / "digits.toml", registry, options), registry, out=tmp_path / "one")
    (tmp_path / "tiny.toml").write_bytes((EXAMPLES / "digits.toml").read_bytes())
    process = start(tmp_path, *TWO, *(f"--set={option}" for option in options))
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert out == f"{tmp_path / 'run'}\n"  # nothing of the libraries', and once
    assert sum("epoch 1/2" in line for line in err.splitlines()) == 1
    ours, theirs = lines(tmp_path / "run"), lines(whole.folder)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs] == list(range(1, 25))
    # The same data in the same order from the same parameters: only the noise differs.
    for key in ("cost/0", "transport"):
        assert np.mean([line[key] for line in ours]) == pytest.approx(np.mean([line[key] for line in theirs]), rel=0.05)
    assert open_run(tmp_path / "run").model.state_dict().keys() == whole.model.state_dict().keys()
    wait_until_gone(tmp_path)


def by_two(folder: Path, *arguments: str, launcher: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The log of the run in a folder, after two processes have trained in it."""
    process = start(folder, *(() if launcher else TWO), *arguments, launcher=launcher)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert out == f"{folder / 'run'}\n"
    return lines(folder / "run")


EPOCHS = 8


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by two processes without an interruption, started by owae."""
    folder = tmp_path_factory.mktemp("straight")
    tiny.config(folder, epochs=EPOCHS, checkpoint_every=1, validation=0.25, ema=0.9, best="validation/loss")
    by_two(folder)
    return folder


def assert_the_same(folder: Path, straight: Path) -> None:
    """To the bit: what was logged, and the parameters."""
    assert lines(folder / "run") == lines(straight / "run")
    ours, theirs = (open_run(each / "run").model.state_dict() for each in (folder, straight))
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_a_run_goes_on_to_the_bit_and_with_another_number_of_devices(straight: Path, tmp_path: Path, registry: Registry):
    """Without its last epoch it is resumed, by torchrun; then one process goes on, and two again."""
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "run"
    checkpoint.paths(run / "checkpoints")[0].unlink()
    by_two(tmp_path, "--resume", launcher=torchrun())
    assert_the_same(tmp_path, straight)
    train(Config.load(tmp_path / "tiny.toml", registry, [f"train.epochs={EPOCHS + 1}"]), registry, out=run, resume=True)
    before, after = lines(straight / "run"), by_two(tmp_path, f"--set=train.epochs={EPOCHS + 2}", "--resume")
    assert after[: len(before)] == before
    assert [line["step"] for line in after] == list(range(1, len(before) * (EPOCHS + 2) // EPOCHS + 1))
    assert all(np.isfinite(line["loss"]) for line in after)


def test_torchrun_starts_again_what_died_and_ends_with_the_bits_of_an_uninterrupted_training(straight: Path, tmp_path: Path):
    """The second of two dies within an epoch, after the first checkpoint."""
    shutil.copy(straight / "tiny.toml", tmp_path)
    shutil.copy(straight / "images.npz", tmp_path)
    (tmp_path / "dying.py").write_text(
        "import os, signal\n"
        "from owae.training.loop import Fit\n"
        "advance = Fit._advance\n"
        "def dying(self, batches, epoch, **more):\n"
        "    if (self.rank, epoch, self.step % self.steps_per_epoch, os.environ['TORCHELASTIC_RESTART_COUNT']) == (1, 3, 1, '0'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return advance(self, batches, epoch, **more)\n"
        "Fit._advance = dying\n"
        "from owae.cli import main\n"
        "main()\n"
    )
    dying = (sys.executable, str(tmp_path / "dying.py"))
    process = start(tmp_path, "--resume", launcher=torchrun("--max-restarts", "1", program=dying))
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "going on after step" in err
    assert_the_same(tmp_path, straight)


def test_what_torchrun_starts_again_reads_nothing_of_the_attempt_before(monkeypatch: pytest.MonkeyPatch):
    """A process that came first once read where the first of the attempt before had listened, and did not connect."""
    kept, joined = HashStore(), []
    monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", lambda _url: iter([(kept, 0, 2)]))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_args, store, rank, world_size: joined.append(store))
    found = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}
    for attempt in ("0", "1", "2"):
        for name, value in (found | {"TORCHELASTIC_RESTART_COUNT": attempt}).items():
            monkeypatch.setenv(name, value)
        launch._connect_restarted("gloo")
    assert len(joined) == 2  # the first attempt is Fabric's own
    joined[0].set("where", "old")
    kept.set("where", "older")
    assert not joined[1].check(["where"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_one_process_stops_all_at_one_step(tmp_path: Path, number: signal.Signals):
    process = start(tmp_path, *TWO)
    wait_for_checkpoint(tmp_path, process)
    other = next(pid for pid in training(tmp_path) if pid != process.pid)
    if number == signal.SIGINT:  # as from a terminal
        os.kill(other, number)
    process.send_signal(number)
    out, err = process.communicate(timeout=900)
    assert (process.returncode, out) == (128 + number, "")
    assert err.count("is saved, --resume goes on") == 1
    assert "Traceback" not in err
    wait_until_gone(tmp_path)
    run = open_run(tmp_path / "run")
    assert lines(run.folder)[-1]["step"] == run.step


@pytest.mark.parametrize("which", ["first", "second"])
def test_the_death_of_one_process_ends_the_other(tmp_path: Path, which: str):
    process = start(tmp_path, *TWO)
    reached = wait_for_checkpoint(tmp_path, process)
    other = next(pid for pid in training(tmp_path) if pid != process.pid)
    os.kill(process.pid if which == "first" else other, signal.SIGKILL)
    _, err = process.communicate(timeout=900)
    assert process.returncode != 0
    wait_until_gone(tmp_path)
    if which == "second":
        assert "another process of this training has ended" in err
        assert "Traceback" not in err
    assert open_run(tmp_path / "run").step >= reached


def test_an_error_that_all_meet_is_told_once(tmp_path: Path):
    """An image of NaN, wherever its row goes; and a folder that is taken."""
    array = tiny.images(40).numpy()
    array[7] = np.nan
    tiny.config(tmp_path, images_=array)
    for words in ("level 1, term cost/0", "already holds a run"):
        process = start(tmp_path, *TWO)
        out, err = process.communicate(timeout=900)
        assert (process.returncode, out) == (2, "")
        assert err.count("error:") == 1, err
        assert words in err
        assert "Traceback" not in err
        wait_until_gone(tmp_path)


def test_an_error_of_one_alone_ends_all(tmp_path: Path):
    """A rank that cannot read its part of the data: it says why and which it is, and nobody waits for it."""
    (tmp_path / "spoilt.py").write_text(
        "import os\n"
        "from owae.errors import DataError\n"
        "from owae.data.loader import Loader\n"
        "rows = Loader.rows\n"
        "def spoilt(self, batch):\n"
        "    if self.rank == 1 and batch == 2:\n"
        "        raise DataError('the disk of this machine is gone')\n"
        "    return rows(self, batch)\n"
        "Loader.rows = spoilt\n"
        "from owae.cli import main\n"
        "main()\n"
    )
    process = start(tmp_path, *TWO, launcher=(sys.executable, str(tmp_path / "spoilt.py")))
    out, err = process.communicate(timeout=900)
    assert process.returncode != 0
    assert out == ""
    assert "process 1: the disk of this machine is gone" in err
    assert "Traceback" not in err
    wait_until_gone(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--devices", "2", "--device", "mps"), "device 'mps' is not available here"),
        (("--devices", "2", "--device", "cuda"), "device 'cuda' is not available here"),
        (("--devices", "0"), "train.devices"),
        (("--precision", "64"), "train.precision: found '64'"),
        (("--device", "mps"), "device 'mps' is not available here"),
    ],
)
def test_what_this_machine_cannot_do_is_said(tmp_path: Path, arguments: tuple[str, ...], words: str, command: Command):
    """From the command line, before any process is started."""
    code, out, err = command("train", tiny.config(tmp_path), "--out", tmp_path / "run", *arguments)
    assert (code, out, "Traceback" in err) == (2, "", False)
    assert words in err
    assert not (tmp_path / "run").exists()


def test_a_launcher_that_counts_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    code, _, err = command("train", tiny.config(tmp_path), "--out", tmp_path / "run", "--devices", "3")
    assert code == 2
    assert "started as one of 2 on 1" in err


@pytest.mark.parametrize("cluster", ["by hand", "slurm"])
def test_two_machines_train_one_run(tmp_path: Path, cluster: str):
    """Both on this one, with the environment that they would find: NODE_RANK by hand, or a step of srun's."""
    tiny.config(tmp_path, epochs=1)
    port = str(free_port())

    def environment(rank: int) -> dict[str, str]:
        if cluster == "by hand":
            return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": str(rank)}
        step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
        own = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": "0", "SLURM_NODEID": str(rank), "SLURM_NTASKS_PER_NODE": "1"}
        return {**step, **own, "SLURM_JOB_NAME": "owae", "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": port}

    arguments = ("--nodes", "2", "--device", "cpu") if cluster == "by hand" else ("--device", "cpu")
    machines = [start(tmp_path, *arguments, **environment(rank)) for rank in range(2)]
    ends = [(machine.communicate(timeout=900), machine.returncode) for machine in machines]
    assert [code for _, code in ends] == [0, 0], ends
    assert [out for (out, _), _ in ends] == [f"{tmp_path / 'run'}\n", ""]
    assert [line["step"] for line in lines(tmp_path / "run")] == list(range(1, len(lines(tmp_path / "run")) + 1))


STRAY = [
    {"NODE_RANK": "1", "LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"},
    {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1"},
    {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "1"},
    {"OWAE_RANK": "1"},
]


@pytest.mark.parametrize("left", STRAY, ids=lambda left: next(iter(left)))
def test_ranks_left_in_the_environment_of_one_process_mean_nothing(
    tmp_path: Path, left: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: Command
):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    code, out, err = command("train", tiny.config(tmp_path, epochs=1), "--out", tmp_path / "run")
    assert (code, out) == (0, f"{tmp_path / 'run'}\n")
    assert "epoch 1/1" in err
