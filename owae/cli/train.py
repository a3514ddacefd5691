"""`owae train`: from a config to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.configs import ConfigFile, Overrides
from owae.files import expanded
from owae.streams import quiet_stdout


def command(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run folder.", show_default="runs/<name of the config>", parser=expanded),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to train: auto, cpu, cuda, …; the same as --set train.device=…", show_default=False)
    ] = None,
    devices: Annotated[
        str | None, typer.Option(metavar="N", help="Devices of each machine, or auto; train.devices.", show_default=False)
    ] = None,
    nodes: Annotated[int | None, typer.Option(metavar="N", help="Machines; train.nodes.", show_default=False)] = None,
    precision: Annotated[str | None, typer.Option(help="32, bf16-mixed or 16-mixed; train.precision.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
) -> None:
    """Train what a config describes; prints the run folder."""
    from owae.cli.configs import load

    if resume and overwrite:
        raise typer.BadParameter("contradicts --overwrite; choose one", param_hint="--resume")
    flags = {"device": device, "devices": devices, "nodes": nodes}
    chosen = [*(overrides or []), *(f"train.{name}={value}" for name, value in flags.items() if value is not None)]
    chosen += [f"train.precision='{precision}'"] if precision is not None else []  # quoted: 32 is a name here
    with quiet_stdout():
        loaded, registry = load(config, chosen)
        from owae.parallel.devices import is_main_process
        from owae.run.train import train  # a config with mistakes is refused before this is waited for

        run = train(loaded, registry, out=out, resume=resume, overwrite=overwrite)
    if is_main_process():
        typer.echo(run.folder)
