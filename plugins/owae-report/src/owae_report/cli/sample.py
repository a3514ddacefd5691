"""`owae sample`: pictures that a trained model makes from nothing but noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, RunFolder, Seed, Which
from owae.files import expanded
from owae_report.cli.arguments import Separate


def command(
    run: RunFolder,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many samples.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=expanded, help="The sheet's file, a .png.", show_default="RUN/figures/samples.png"),
    ] = None,
    seed: Seed = 0,
    separate: Separate = None,
    npy: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=expanded, help="Also write the numbers, (n, *shape), as .npy.")
    ] = None,
    checkpoint: Which = Checkpoint.NEWEST,
) -> None:
    """Draw samples from a trained model: noise at every latent level, from the deepest down to the data."""
    from owae.run.opened import open_run
    from owae_report import blocks
    from owae_report.cli.output import figure_path, require_drawable, write_array, write_figure, write_separately
    from owae_report.events import draw_samples
    from owae_report.pixels import to_pixels

    opened = open_run(run, checkpoint=checkpoint.value)
    path = figure_path(opened.folder, "samples", out, opened.shape)
    if separate is not None:
        require_drawable(opened.shape, "--separate")
    samples = draw_samples(opened.model, number, seed)
    write_figure(
        path,
        lambda: blocks.samples(to_pixels(samples, opened.value_range)),
        opened.natural(samples),
        f"{number} samples of shape {opened.shape}",
    )
    if separate is not None:
        digits = len(str(number - 1))
        named = ((f"sample-{i:0{digits}}", sample) for i, sample in enumerate(samples))
        write_separately(separate, named, opened.value_range)
    if npy is not None:
        write_array(npy, opened.natural(samples))
