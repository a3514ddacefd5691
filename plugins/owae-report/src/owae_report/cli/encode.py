"""`owae encode`: every level's codes of any data, as a file. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Which
from owae.files import expanded
from owae_report.cli.arguments import BatchSize, Data


def command(
    run: RunFolder,
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            parser=expanded,
            help="The file, .npz, .parquet, .csv or, with owae-anndata, .h5ad.",
            show_default=False,
        ),
    ],
    batch_size: BatchSize = 250,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Encode data to every level: means, variances, labels and ids, in constant memory."""
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_report.codes.encode import code_blocks
    from owae_report.codes.own_data import own_data
    from owae_report.codes.writers import check_suffix, write

    check_suffix(out)
    with quiet_stdout():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        source = own_data(opened, data)
        write(out, code_blocks(opened.model, source, batch_size), len(source))
    typer.echo(out)
