"""`owae submit CONFIG`: a training or a sweep as jobs of SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.configs import Overrides
from owae.files import expanded
from owae.streams import quiet_stdout
from owae_sweep.arguments import Name, Storage


def command(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", parser=expanded, help="A config; with a [sweep] table, the sweep.", show_default=False),
    ],
    time: Annotated[str, typer.Option(metavar="TIME", help="The time of a job, as 90 (minutes), 4:00:00 or 2-00.")],
    overrides: Overrides = None,
    partition: Annotated[str | None, typer.Option(help="SLURM's partition.")] = None,
    account: Annotated[str | None, typer.Option(help="SLURM's account.")] = None,
    qos: Annotated[str | None, typer.Option(help="SLURM's quality of service.")] = None,
    constraint: Annotated[str | None, typer.Option(help="Features that the machines must have.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Workers of a sweep, each a job.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines of a training.")] = 1,
    tasks: Annotated[int, typer.Option(min=1, help="Processes of a training on each machine: as many as GPUs.")] = 1,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs on each machine.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores of each process.")] = None,
    memory: Annotated[float | None, typer.Option(min=0, metavar="GB", help="Memory on each machine.")] = None,
    warning: Annotated[int, typer.Option(min=1, help="Seconds before its end at which a job saves and is queued again.")] = 300,
    turns: Annotated[int, typer.Option(min=0, help="How often it is queued again.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=expanded, help="The run's or sweep's folder.", show_default="as owae train and owae sweep"
        ),
    ] = None,
    storage: Storage = None,
    name: Name = None,
    local: Annotated[bool, typer.Option("--local", help="Run the jobs as processes of this machine.")] = False,
) -> None:
    """Submit a training, or workers of a sweep, to SLURM; prints the jobs' numbers."""
    with quiet_stdout():
        from owae_sweep.submit import Resources, submit

        resources = Resources(
            time=time,
            partition=partition,
            account=account,
            qos=qos,
            constraint=constraint,
            nodes=nodes,
            tasks=tasks,
            gpus=gpus,
            cpus=cpus,
            memory=memory,
            warning=warning,
            turns=turns,
        )
        submitted = submit(
            config,
            resources,
            overrides or [],
            out=out,
            jobs=jobs,
            storage=storage,
            name=name,
            cluster="local" if local else "slurm",
        )
    for each in submitted:
        typer.echo(each.job_id)
