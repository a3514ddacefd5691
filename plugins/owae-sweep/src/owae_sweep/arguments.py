"""Options that the sweep's commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="A database that several machines share, as postgresql+psycopg://user@host/db; they join by this same command.",
        show_default="SQLite in the folder",
    ),
]
Name = Annotated[str | None, typer.Option(help="The sweep's name in the database.", show_default="the name of the config")]
