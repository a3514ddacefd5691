"""`owae export`: a trained model as a folder to take away. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Which
from owae.files import expanded


def command(
    run: RunFolder,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", parser=expanded, help="Where to write it.", show_default=False)],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write encoder.onnx and sampler.onnx, verified by onnxruntime.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Put the scores of `owae evaluate` on the model card.")
    ] = True,
    push: Annotated[
        str | None,
        typer.Option(metavar="USER/NAME", help="Also send it to this repository of the Hugging Face Hub.", show_default=False),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make that repository private.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier export.")] = False,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Write a trained model as a folder: parameters, config, and a model card with its scores; `owae.load` opens it."""
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_export.folder import export

    with quiet_stdout():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        scores = None
        if evaluate:
            from owae_report.python import evaluate as measure

            scores = measure(opened).to_dict()
        made = export(opened, folder, evaluation=scores, onnx=onnx, overwrite=overwrite)
    typer.echo(made)
    if push is not None:
        from owae_export.hub import push as send

        typer.echo(send(made, push, private=private))
