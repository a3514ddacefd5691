"""`owae figures`: the figures of a paper from a run folder. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.files import expanded
from owae_report.cli.arguments import Channels, Split


def command(
    run: RunFolder,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN2", parser=expanded, help="Draw both runs side by side, their depths may differ.", show_default=False
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Draw this one: samples, latent-grid, reconstructions, interpolations, pairs, embeddings, or of the last -raw, -pca or "
            "-umap alone. May be repeated; all unless given.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", parser=expanded, help="Where the files go.", show_default="RUN/figures")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="png, pdf, or both, separated by a comma.")] = "png,pdf",
    number: Annotated[
        int | None,
        typer.Option(
            "-n", "--number", min=1, help="Samples, examples and pairs.", show_default="64 samples, 10 reconstructions, 6 pairs"
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Examples embedded, at most; UMAP takes its time.")] = 2000,
    side: Annotated[
        int | None,
        typer.Option(min=2, help="Points along each side of the latent grid.", show_default="20, or 12 of two runs"),
    ] = None,
    level: Annotated[
        int | None, typer.Option(min=1, help="The level whose codes are interpolated.", show_default="the deepest")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Pictures from one reconstruction to the other, both included.")] = 10,
    split: Annotated[Split, typer.Option(help="The set that the examples come from.")] = Split.TEST,
    seed: Seed = 0,
    shown_channels: Channels = None,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Draw a run as a paper would: samples, latent grid, reconstructions, interpolations, embeddings of every level."""
    from owae.errors import OwaeError, suggestion
    from owae.run.opened import open_run
    from owae_report.errors import NotDrawableError
    from owae_report.figure_data import FigureData, Options
    from owae_report.figures import draw, selected
    from owae_report.pixels import write
    from owae_report.style import FORMATS

    kinds = list(dict.fromkeys(kind.strip().lower() for kind in formats.split(",") if kind.strip()))
    for kind in kinds:
        if kind not in FORMATS:
            raise typer.BadParameter(f"'{kind}' is no format of these; {suggestion(kind, FORMATS)}", param_hint="--format")
    if not kinds:
        raise typer.BadParameter(f"found none; valid: {', '.join(FORMATS)}", param_hint="--format")
    if out is not None and out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is a file; give a folder", param_hint="--out")
    if against is not None and against.resolve() == run.resolve():
        raise typer.BadParameter(f"{against} is the same run; give another", param_hint="--against")
    names = selected(only or [])
    options = Options(
        seed=seed, number=number, examples=examples, split=split.value, level=level, steps=steps, side=side, channels=shown_channels
    )
    opened = [open_run(path, checkpoint=checkpoint.value, overrides=moved or ()) for path in (run, against) if path is not None]
    runs = [FigureData(one, options) for one in opened]
    if len(runs) > 1 and runs[0].name == runs[1].name:
        for data in runs:
            folder = data.run.folder.absolute()
            data.name = f"{folder.parent.name}/{folder.name}"
    folder = out or runs[0].run.folder / "figures"
    ending = f"-against-{runs[1].slug}" if len(runs) > 1 else ""
    reasons = []
    for name in names:
        try:
            files = draw(name, runs, kinds)
        except NotDrawableError as error:
            reasons.append(f"{name} not drawn: {error}")
            typer.echo(reasons[-1], err=True)
            continue
        for kind, content in zip(kinds, files, strict=True):
            typer.echo(write(folder / f"{name}{ending}.{kind}", content))
    if len(reasons) == len(names):
        raise OwaeError(f"no figure could be drawn of {' and '.join(data.name for data in runs)}, see above")
