"""`owae sample`: pictures that a trained model makes from nothing but noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.files import expanded
from owae_report.cli.arguments import Channels, Separate


def command(
    run: RunFolder,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many samples.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=expanded, help="The grid's file, a .png.", show_default="RUN/figures/samples.png"),
    ] = None,
    seed: Seed = 0,
    separate: Separate = None,
    npy: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=expanded, help="Also write the numbers, (n, *shape), as .npy.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS", help="Draw samples of one class of the training data: its number or name.", show_default=False
        ),
    ] = None,
    level: Annotated[
        int | None, typer.Option(min=1, help="The level whose codes of that class are drawn.", show_default="the deepest")
    ] = None,
    shown_channels: Channels = None,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Draw samples from a trained model: noise at every latent level, from the deepest down to the data."""
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_report import blocks
    from owae_report.classes import class_prior, safe_name
    from owae_report.cli.output import figure_path, require_drawable, write_array, write_figure, write_separately
    from owae_report.events import draw_of_class, draw_samples
    from owae_report.pixels import channels, to_pixels

    if level is not None and label is None:
        raise typer.BadParameter("says where a class is drawn; give --label too", param_hint="--level")
    opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
    shown = channels(opened.shape, opened.dtype, shown_channels)
    path = figure_path(opened.folder, "samples" if label is None else f"samples-{safe_name(label)}", out, opened.shape)
    if separate is not None:
        require_drawable(opened.shape, "--separate")
    if label is None:
        samples = draw_samples(opened.model, number, seed)
    else:
        with quiet_stdout():
            prior, number_of_class, drawn = class_prior(opened, label, level, seed)
            samples = draw_of_class(opened.model, prior, number_of_class, drawn, number, seed)
    write_figure(
        path,
        lambda: blocks.samples(to_pixels(samples, opened.value_range, shown)),
        opened.natural(samples),
        f"{number} samples of shape {opened.shape}",
    )
    if separate is not None:
        digits = len(str(number - 1))
        named = ((f"sample-{i:0{digits}}", sample) for i, sample in enumerate(samples))
        write_separately(separate, named, opened.value_range, shown)
    if npy is not None:
        write_array(npy, opened.natural(samples))
