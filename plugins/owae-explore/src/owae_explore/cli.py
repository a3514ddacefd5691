"""`owae explore`: a page to move in a run's latents, served to the own machine. Nothing heavy is imported before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Which
from owae_report.cli.arguments import Channels


def command(
    run: RunFolder,
    host: Annotated[str, typer.Option(help="The address to listen on; any other than loopback lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="Measure how long a move takes, and end.")] = False,
    shown_channels: Channels = None,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Serve a page to move in any level of a run, with noise held or drawn, and to send own pictures through; ends with Ctrl-C."""
    import contextlib
    import webbrowser

    from owae.errors import OwaeError
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_explore.serving import bound, measured, serving
    from owae_explore.session import Session

    with quiet_stdout():
        session = Session(open_run(run, checkpoint=checkpoint.value, overrides=moved or ()), shown_channels)
        _ = session.codes
    try:
        listening = bound(host, port)
    except OSError as error:
        raise OwaeError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    with contextlib.closing(listening), serving(session, run.name or str(run), host, listening) as (address, wait):
        if benchmark:
            typer.echo(measured(session, address))
            return
        typer.echo(address)
        if browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            wait()
