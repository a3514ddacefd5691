"""`owae init`: a config for any data, that trains. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.configs import Overrides
from owae.files import expanded
from owae.streams import quiet_stdout


def command(
    data: Annotated[str, typer.Argument(metavar="PATH|NAME", help="A folder, a file, or the name of a set.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", parser=expanded, help="The config.", show_default="<name of the data>.toml"),
    ] = None,
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Look at data and write a config that trains on them, with comments; prints its path.

    Asks nothing. Says on stderr what it found and chose and why, and how long training takes, by three steps of it.
    """
    from owae.registry.registry import Registry
    from owae_dev.init.write import write

    with quiet_stdout():
        path = write(data, Registry.discover(), out=out, changes=overrides or (), force=force)
    typer.echo(path)
