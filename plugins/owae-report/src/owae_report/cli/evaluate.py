"""`owae evaluate`: a run's levels, samples and generalisation on held-out data. Nothing heavy is imported before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.streams import quiet_stdout


def command(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of tables.")] = False,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What samples are judged by: pixels, classifier, random, efficientnet-lite0, 'inception PATH', 'dinov2 PATH' or "
            "FILE.npz. May be repeated.",
            show_default="pixels, and classifier with labels or random without",
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("-n", "--number", min=2, help="Samples a seed.", show_default="as many as held-out examples, 5,000 at most"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Sampling seeds, whose spread is shown.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Measure errors, accuracies and the divergence alone.")] = False,
    neighbours: Annotated[int, typer.Option(min=1, help="Nearest neighbours that vote for a label.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples encoded at once; smaller takes less memory.")] = 250,
    seed: Seed = 0,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Measure a run on held-out data: every level, the samples by two kinds of features or more, and nearest training examples."""
    from owae.cli.tables import print_json, print_table
    from owae.run.opened import open_run
    from owae_report.evaluation.whole import Options, judge_run
    from owae_report.page.judgement import Table, blocks

    options = Options(features or (), number, seeds, seed, neighbours, batch_size)
    if quick:
        options = Options(seed=seed, neighbours=neighbours, batch_size=batch_size, blocks=())
    with quiet_stdout():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        result = judge_run(opened, options)
    if as_json:
        where = {"run": str(opened.folder), "step": opened.step, "epoch": opened.epoch}
        print_json(where | result.to_dict())
    else:
        for i, block in enumerate(blocks(result).values()):
            if i:
                typer.echo()
            for part in block:
                if isinstance(part, Table):
                    print_table(part.headings, part.rows, right=part.right)
                else:
                    typer.echo(part)
