"""`owae score`: how unlike the training data examples are. Nothing heavy is imported before it runs."""

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
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", parser=expanded, help="A .csv, .npz or .parquet.", show_default="CSV to stdout"
        ),
    ] = None,
    batch_size: BatchSize = 250,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Score data for anomalies: error through every level and distance of the top code from the prior, as p-values of held-out data."""
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_report.codes.encode import Calibration, score_blocks
    from owae_report.codes.own_data import own_data
    from owae_report.codes.writers import check_suffix, csv_lines, write

    if out is not None:
        check_suffix(out)
    with quiet_stdout():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        source = own_data(opened, data)
        calibration = Calibration.of(opened.model, opened.source("test"), batch_size)
    blocks = score_blocks(opened.model, source, calibration, batch_size)
    if out is not None:
        write(out, blocks, len(source))
        typer.echo(out)
        return
    for text in csv_lines(blocks):
        typer.echo(text, nl=False)
