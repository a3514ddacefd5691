"""Hands trainings and sweep workers to SLURM by submitit: saved and queued again before their time ends."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from owae.config.config import Config
from owae.errors import TrainingError
from owae.registry.registry import Registry
from owae_sweep.space import read

logger = logging.getLogger(__name__)

STOPPED = {128 + signal.SIGUSR1, 128 + signal.SIGUSR2}


class Job:
    """A command of owae that submitit runs; when the cluster warns, it lets the command save and asks for another turn.

    Args:
        arguments: What follows `owae`; with --resume, for the command is run anew in every turn.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Runs the command to its end.

        Raises:
            TrainingError: It failed, for which the job's stderr has the reason.
        """
        self._process = subprocess.Popen([sys.executable, "-m", "owae", *self.arguments])
        code = self._ended()
        if code and code not in STOPPED:  # stopped so, the first process of the job asks for another turn
            raise TrainingError(f"owae {self.arguments[0]} ended with {code}")

    def checkpoint(self) -> Any:
        """Stops the command, which saves, and returns what submitit puts in the queue."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGUSR1)
            self._ended()
        return DelayedSubmission(Job(self.arguments))

    def _ended(self) -> int:
        """Waits for the command and returns its exit code; a signal's handler may do so while the main program does."""
        assert self._process is not None
        with contextlib.suppress(ChildProcessError):  # it has been waited for
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return self._process.wait()

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self.arguments, "_process": None}


@dataclass(frozen=True)
class Resources:
    """What a job asks of the cluster.

    Attributes:
        time: As SLURM writes it: minutes, or [days-]hours:minutes:seconds.
        partition, account, qos, constraint: As SLURM's options of these names; the cluster's own where None.
        nodes: Machines of one training.
        tasks: Processes on each machine.
        gpus: GPUs on each machine.
        cpus: Cores of each process.
        memory: GB on each machine.
        warning: Seconds before the end of its time at which a job is told to save.
        turns: How often a job that ran out of time is queued again.
    """

    time: str
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = 1
    tasks: int = 1
    gpus: int | None = None
    cpus: int | None = None
    memory: float | None = None
    warning: int = 300
    turns: int = 100


def minutes(time: str) -> int:
    """Returns a time as SLURM writes it in minutes, rounded up.

    Raises:
        TrainingError: It is no such time, or none at all.

    >>> minutes("90"), minutes("1:30:00"), minutes("2-00"), minutes("0:30")
    (90, 90, 2880, 1)
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time.strip())
    if found:
        days, *rest = (None if part is None else int(part) for part in found.groups())
        parts = [part for part in rest if part is not None]
        # With days they are hours[:minutes[:seconds]]; without, one is minutes, two minutes:seconds, three all.
        if days is not None or len(parts) == 3:
            hours, mins, secs = (*parts, 0, 0)[:3]
        else:
            hours, (mins, secs) = 0, (*parts, 0)[:2]
        total = -(-(((days or 0) * 24 + hours) * 3600 + mins * 60 + secs) // 60)
        if total > 0:
            return total
    raise TrainingError(f"--time: found '{time}'; minutes, hours:minutes:seconds or days-hours would work, as 90, 4:00:00 or 2-00")


def commands(
    config: Path,
    overrides: Sequence[str],
    *,
    out: Path | None,
    jobs: int,
    storage: str | None,
    name: str | None,
    resources: Resources,
) -> tuple[list[list[str]], Path]:
    """Returns the arguments of each job, and the folder of the run or sweep.

    Raises:
        ConfigError: The config or the space has mistakes.
        TrainingError: The options do not fit it.
    """
    registry = Registry.discover()
    changes = [part for text in overrides for part in ("--set", text)]
    if "sweep" in Config.parse(config):
        read(config, overrides, registry)
        if resources.nodes * resources.tasks > 1:
            raise TrainingError("--nodes, --tasks: a sweep's points are trained by one process each; more workers are --jobs")
        if jobs > 1 and storage is None:
            logger.warning(
                "%d jobs share an SQLite file: that needs a disk with working locks, which network file systems seldom are; "
                "--storage postgresql+psycopg://… is for several machines",
                jobs,
            )
        folder = (out or Path("sweeps") / config.stem).absolute()
        each = ["sweep", "run", str(config.absolute()), "--out", str(folder), "--resume", *changes]
        each += [part for option, value in (("--storage", storage), ("--name", name)) if value for part in (option, value)]
        return [[*each, "--index", str(index)] for index in range(jobs)], folder
    if jobs > 1 or storage or name:
        raise TrainingError(f"--jobs, --storage and --name are for sweeps, and {config} has no [sweep] table")
    Config.load(config, registry, list(overrides))
    folder = (out or Path("runs") / config.stem).absolute()
    shape = [] if resources.nodes * resources.tasks == 1 else ["--devices", str(resources.tasks), "--nodes", str(resources.nodes)]
    return [["train", str(config.absolute()), "--out", str(folder), "--resume", *shape, *changes]], folder


def submit(
    config: Path,
    resources: Resources,
    overrides: Sequence[str] = (),
    *,
    out: Path | None = None,
    jobs: int = 1,
    storage: str | None = None,
    name: str | None = None,
    cluster: str = "slurm",
) -> list[Any]:
    """Submits a training, or so many workers of a sweep, and returns submitit's jobs.

    What submitit needs of a job lies in a folder beside the run's, named as it with `-jobs`: the script, the job's output, and pickles
    of its own that it reads in the job, so that the folder must be as trusted as the account.

    Args:
        config: The TOML file.
        resources: What each job asks for.
        overrides: Changes of the config.
        out: The run's or the sweep's folder.
        jobs: Workers of a sweep.
        storage: The sweep's database.
        name: The sweep's name in it.
        cluster: "slurm", or "local": processes of this machine.

    Raises:
        ConfigError: The config or the space has mistakes; then nothing is submitted.
        TrainingError: The options do not fit, or SLURM is not there or refuses.
    """
    total = minutes(resources.time)
    if cluster == "slurm" and resources.warning >= 60 * total:
        raise TrainingError(
            f"--warning: {resources.warning} s before its end is before a job of {total} minutes starts; --warning {30 * total} would work"
        )
    if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise TrainingError(
            "there is no sbatch and srun here: submit from a machine of the cluster, or run the jobs on this one with --local"
        )
    arguments, folder = commands(config, overrides, out=out, jobs=jobs, storage=storage, name=name, resources=resources)
    import submitit
    from submitit.core.utils import FailedJobError

    limit = {f"{cluster}_max_num_timeout": resources.turns}
    executor = submitit.AutoExecutor(folder.with_name(f"{folder.name}-jobs"), cluster=cluster, **limit)
    asked: dict[str, Any] = {
        "name": f"owae-{folder.name}",
        "timeout_min": total,
        "nodes": resources.nodes,
        "tasks_per_node": resources.tasks,
        "gpus_per_node": resources.gpus,
        "cpus_per_task": resources.cpus,
        "mem_gb": resources.memory,
    }
    if cluster == "slurm":
        asked |= {
            "slurm_partition": resources.partition,
            "slurm_account": resources.account,
            "slurm_qos": resources.qos,
            "slurm_constraint": resources.constraint,
            "slurm_signal_delay_s": resources.warning,
        }
    executor.update_parameters(**{option: value for option, value in asked.items() if value is not None})
    try:
        return [executor.submit(Job(each)) for each in arguments]
    except (FailedJobError, OSError) as error:
        raise TrainingError(f"the job could not be submitted: {error}") from error
