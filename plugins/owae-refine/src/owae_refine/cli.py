"""`owae refine`: the second phase of training, for a run that was trained without it."""

from __future__ import annotations

from typing import Annotated

import typer

from owae.cli.arguments import RunFolder
from owae.cli.configs import Overrides
from owae.streams import quiet_stdout


def command(
    run: RunFolder,
    overrides: Overrides = None,
    device: Annotated[str | None, typer.Option(help="Where to train; the same as --set train.device=…", show_default=False)] = None,
) -> None:
    """Refine a trained run, so that its conditionals draw: encoders and reconstructions stay as they are.

    Goes on where it was interrupted. `--set refine.epochs=50` changes an option of [refine].
    """
    with quiet_stdout():
        from owae.cli.configs import load
        from owae.parallel.devices import is_main_process
        from owae.run.folder import CONFIG
        from owae.run.opened import open_run
        from owae.run.train import train

        added = [] if "refine" in open_run(run).config.phases else ["refine={}"]
        added += [f"train.device={device}"] if device is not None else []
        config, registry = load(run / CONFIG, [*added, *(overrides or [])])
        trained = train(config, registry, out=run, resume=True)
    if is_main_process():
        typer.echo(trained.folder / "refine")
