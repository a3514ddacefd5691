"""`owae plugins`: lists what is installed; `new` writes a plugin, `check` tries one against its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.files import expanded
from owae_dev.kinds import Kind

_SETTINGS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def plugins(context: typer.Context, as_json: AsJson = False) -> None:
    """List components and commands: name, kind, distribution, version, status. Write a plugin; check one."""
    if context.invoked_subcommand is not None:
        return
    from owae.cli.tables import print_json, print_table
    from owae.registry.discovery import restriction
    from owae_dev.listing import rows

    found = rows()
    if as_json:
        print_json(found)
    else:
        headings = ("name", "kind", "distribution", "version", "status")
        print_table(headings, [[row[heading] for heading in headings] for row in found])
    if said := restriction():
        typer.echo(said, err=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What a config, or the command line, will call it.", show_default=False)],
    kind: Annotated[Kind, typer.Option(help="What the plugin brings.", show_default=False)],
    into: Annotated[
        Path, typer.Option(metavar="DIR", parser=expanded, help="The folder to make the package's folder in.")
    ] = Path(),
) -> None:
    """Write a complete plugin package: a working example, its tests, a config. Its folder is called owae-NAME."""
    from owae_dev.package import checked, write

    typer.echo(write(checked(name, kind), into))


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="A component, a distribution or an entry point; the last two stand for all components they bring.")
    ],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the component, as in a config; may be repeated."),
    ] = None,
    law: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A keyword of its check in owae.testing, as zero_at_equality=false, shape=[3, 8, 8] or in_shape=[8]; may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try an installed component against the laws of its interface, and print which hold. Exit code 1 if one is broken."""
    from owae.cli.tables import print_json
    from owae.streams import quiet_stdout
    from owae_dev.laws import components, tried

    with quiet_stdout():
        found = [tried(entry, options or (), law or ()) for entry in components(name)]
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        typer.echo("\n".join(str(one) for one in found))
    if any(one.broken for one in found):
        raise typer.Exit(1)
