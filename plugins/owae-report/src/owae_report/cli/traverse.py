"""`owae traverse`: the deepest latent, laid out and decoded (Fig. 2b)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, RunFolder, Seed, Which
from owae.files import expanded
from owae_report.cli.arguments import Channels


def command(
    run: RunFolder,
    side: Annotated[int, typer.Option(min=2, help="Points along each side of the grid.")] = 20,
    extent: Annotated[float, typer.Option(help="How far the grid reaches each way, in standard deviations of the prior.")] = 2.0,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=expanded, help="The figure's file, a .png.", show_default="RUN/figures/latent-grid.png"
        ),
    ] = None,
    shown_channels: Channels = None,
    checkpoint: Which = Checkpoint.NEWEST,
) -> None:
    """Decode an even grid of the deepest latent: z[0] rightwards, z[1] upwards; of a random plane, where it has more dimensions."""
    import math

    from owae.run.opened import open_run
    from owae.tensor_checks import LARGEST
    from owae_report.blocks import latent_grid
    from owae_report.cli.output import figure_path, write_figure
    from owae_report.events import decode_plane
    from owae_report.pixels import channels, to_pixels

    if not 0 < extent <= LARGEST:
        raise typer.BadParameter(
            f"{extent} is no distance; a number above 0, up to {LARGEST:.0e}, would work", param_hint="--extent"
        )
    opened = open_run(run, checkpoint=checkpoint.value)
    shown = channels(opened.shape, opened.dtype, shown_channels)
    path = figure_path(opened.folder, "latent-grid", out, opened.shape)
    decoded = decode_plane(opened.model, side, extent, seed)
    levels = opened.model.layers
    write_figure(
        path,
        lambda: latent_grid(
            [to_pixels(row, opened.value_range, shown) for row in decoded], len(levels), math.prod(levels[-1].latent_shape), extent
        ),
        opened.natural(decoded),
        f"rows from top to bottom, columns from left to right, then an example of shape {opened.shape}",
    )
