"""`owae doctor`: what works on this machine, and what falls back to what."""

from __future__ import annotations

from typing import Annotated

import typer


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False) -> None:
    """Look at the installation: torch, devices, compilers, KeOps, data folders, plugins; what falls back to what, and why."""
    from owae.cli.tables import print_json
    from owae.streams import quiet_stdout
    from owae_dev.doctor import findings

    with quiet_stdout():
        found = findings()
    if as_json:
        print_json([finding.as_json() for finding in found])
    else:
        typer.echo("\n".join(map(str, found)))
