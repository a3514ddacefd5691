"""Jobs for SLURM: what sbatch is given, and a job that is warned, saves, and goes on in its next turn."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest
import tiny
import torch
from sweeps import signalling, write_config

from owae import Config, ConfigError, Registry
from owae.errors import TrainingError
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.train import train
from owae_sweep.submit import Resources, commands, minutes, submit

SBATCH = """#!/bin/bash

# Parameters
#SBATCH --account=team
#SBATCH --cpus-per-task=4
#SBATCH --error=DIR/runs/tiny-jobs/%j_0_log.err
#SBATCH --gpus-per-node=2
#SBATCH --job-name=owae-tiny
#SBATCH --mem=16GB
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --open-mode=append
#SBATCH --output=DIR/runs/tiny-jobs/%j_0_log.out
#SBATCH --partition=gpu
#SBATCH --signal=USR2@300
#SBATCH --time=240
#SBATCH --wckey=submitit

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output DIR/runs/tiny-jobs/%j_%t_log.out --error DIR/runs/tiny-jobs/%j_%t_log.err \
PYTHON -u -m submitit.core._submit DIR/runs/tiny-jobs
"""


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called sbatch that keeps what it is given; returns where."""
    kept, programs = tmp_path / "kept.sh", tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(f'#!/bin/sh\ncat "$1" > "{kept}"\necho Submitted batch job 12\n')
    (programs / "srun").write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return kept


def test_what_sbatch_is_given(tmp_path: Path, sbatch: Path):
    resources = Resources(time="4:00:00", partition="gpu", account="team", nodes=2, tasks=2, gpus=2, cpus=4, memory=16)
    (job,) = submit(tiny.config(tmp_path), resources, out=tmp_path / "runs" / "tiny")
    assert job.job_id == "12"
    assert sbatch.read_text() == SBATCH.replace("DIR", str(tmp_path)).replace("PYTHON", sys.executable)


def test_what_the_jobs_run(tmp_path: Path):
    resources = Resources(time="60", nodes=2, tasks=4)
    options = {"out": tmp_path / "out", "storage": None, "name": None}
    ((training,), folder) = commands(tiny.config(tmp_path), ["train.epochs=3"], jobs=1, resources=resources, **options)
    assert folder == tmp_path / "out"
    assert " ".join(training[4:]) == "--resume --devices 4 --nodes 2 --set train.epochs=3"
    (tmp_path / "s").mkdir()
    options |= {"storage": "postgresql+psycopg://host/db"}
    workers, _ = commands(write_config(tmp_path / "s"), [], jobs=3, resources=Resources(time="60"), **options)
    assert [worker[:2] for worker in workers] == [["sweep", "run"]] * 3
    assert ["--resume" in worker for worker in workers] == [True] * 3
    assert [worker[-2:] for worker in workers] == [["--index", str(i)] for i in range(3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time": "soon"}, "--time"),
        ({"time": "0"}, "--time"),
        ({"time": "5", "warning": 300}, "--warning 150 would work"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict, said: str, sbatch: Path):
    with pytest.raises(TrainingError, match=said):
        submit(tiny.config(tmp_path), Resources(**options))
    assert not sbatch.exists()


def test_nothing_is_submitted_where_the_config_has_mistakes_or_the_cluster_is_not_there(
    tmp_path: Path, sbatch: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ConfigError, match="epochs"):
        submit(tiny.config(tmp_path, epochs=-1), Resources(time="60"))
    with pytest.raises(ConfigError, match=re.escape("levels[0].layer.latent")):
        submit(
            write_config(
                tmp_path, sweep='metric = "loss"\ndirection = "minimize"\n[sweep.parameters]\n"levels[0].layer.latent" = [-1]'
            ),
            Resources(time="60"),
        )
    assert not sbatch.exists()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TrainingError, match="no sbatch"):
        submit(tiny.config(tmp_path), Resources(time="60"))


@pytest.mark.slow
def test_a_job_that_is_warned_saves_and_ends_in_its_next_turn_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By submitit's local executor: the warning is the signal that SLURM sends to the processes of the job."""
    for name, value in signalling(tmp_path, signal.SIGUSR2, "parent").items():
        monkeypatch.setenv(name, value)
    config, registry = tiny.config(tmp_path, epochs=10, checkpoint_every=1000), Registry.discover()
    out = tmp_path / "run"
    (job,) = submit(config, Resources(time="60"), out=out, cluster="local")
    try:
        assert job.result() is None
    finally:
        job._process.kill()
        job._process.wait()
    said = job.stderr() or ""
    assert "Requeued" in said + (job.stdout() or "")
    assert "going on after step" in said
    whole = train(Config.load(config, registry), registry, out=tmp_path / "whole")
    again = open_run(out, registry)
    assert again.step == whole.step == 40
    assert [line["step"] for line in read_metrics(out / "metrics.jsonl")] == list(range(1, 41))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_times_are_slurms():
    assert [minutes(time) for time in ("90", "0:30", "4:00:00", "1-12", "1-00:30")] == [90, 1, 240, 2160, 1470]
