"""`owae sweep CONFIG` searches; `owae sweep show DIR` tells what was found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from owae.cli.configs import Overrides
from owae.files import expanded
from owae.streams import quiet_stdout
from owae_sweep.arguments import Name, Storage


class _Search(TyperGroup):
    """A group whose command `run` needs not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Search,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Search over settings: `owae sweep CONFIG` runs a config's [sweep], `owae sweep show DIR` tells what it found.",
)


@app.command("run")
def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", parser=expanded, help="A TOML file with a [sweep] table.", show_default=False)
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=expanded, help="The sweep's folder.", show_default="sweeps/<name of the config>"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes on this machine.")] = 1,
    storage: Storage = None,
    name: Name = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with, or join, the sweep in the folder.")] = False,
    heartbeat: Annotated[
        int, typer.Option(min=1, help="Seconds between signs of life; after four without one a worker counts as dead.")
    ] = 15,
    index: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Train and measure every point of a config's [sweep]; prints the sweep's folder."""
    with quiet_stdout():
        from owae_sweep.start import start

        folder = start(
            config,
            overrides or [],
            out=out,
            workers=workers,
            storage=storage,
            name=name,
            resume=resume,
            heartbeat=heartbeat,
            index=index,
        )
    typer.echo(folder)


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", parser=expanded, help="A sweep's folder.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    plots: Annotated[
        bool, typer.Option(help="Draw heat map, parallel coordinates, importances and samples into the folder.")
    ] = True,
    live: Annotated[bool, typer.Option("--live", help="Keep the table up to date until the sweep ends.")] = False,
) -> None:
    """Tell what a sweep has found so far: the points, best first, with their errors over seeds; and draw it."""
    with quiet_stdout():
        from owae_sweep.pictures import draw
        from owae_sweep.show import summary, tables, watch

        if live and not as_json and sys.stdout.isatty():
            watch(folder)
        found = summary(folder)
        drawn = draw(folder) if plots and not as_json else []
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in tables(found):
        typer.echo(line)
    for path in drawn:
        typer.echo(path)
