"""`owae reconstruct`: held-out data and what each level's code keeps of them (Fig. 3b)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.files import expanded
from owae_report.cli.arguments import Channels, Separate, Split


def command(
    run: RunFolder,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many examples.")] = 10,
    split: Annotated[Split, typer.Option(help="The set that the examples come from.")] = Split.TEST,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            parser=expanded,
            help="Your own image file or folder of them instead; may be repeated.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=expanded, help="The figure's file, a .png.", show_default="RUN/figures/reconstructions.png"
        ),
    ] = None,
    separate: Separate = None,
    shown_channels: Channels = None,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Reconstruct examples through every level: the data in the bottom row, the deepest level's reconstruction in the top row."""
    import torch

    from owae.data.sources import examples
    from owae.run.opened import open_run
    from owae_report.blocks import layerwise
    from owae_report.cli.output import figure_path, require_drawable, write_figure, write_separately
    from owae_report.events import reconstructions
    from owae_report.load import own_pictures
    from owae_report.pixels import channels, to_pixels
    from owae_report.representatives import representative

    opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
    shown = channels(opened.shape, opened.dtype, shown_channels)
    path = figure_path(opened.folder, "reconstructions", out, opened.shape)
    if separate is not None:
        require_drawable(opened.shape, "--separate")
    if images:
        x = own_pictures(opened, images)
    else:
        source = opened.source(split.value)
        if len(source) < number:
            typer.echo(f"the {split.value} set holds {len(source)} examples, fewer than the {number} asked for", err=True)
        x = examples(source, representative(number, len(source), source.labels, seed))
    levels = reconstructions(opened.model, x)
    write_figure(
        path,
        lambda: layerwise([to_pixels(events, opened.value_range, shown) for events in levels]),
        opened.natural(torch.stack(levels)),
        f"the data, then their reconstructions through z_1 … z_{len(levels) - 1}, each ({len(x)}, *{opened.shape})",
    )
    if separate is not None:
        digits = len(str(len(x) - 1))
        named = (
            (f"example-{i:0{digits}}-{f'z{level}' if level else 'x'}", event)
            for level, events in enumerate(levels)
            for i, event in enumerate(events)
        )
        write_separately(separate, named, opened.value_range, shown)
