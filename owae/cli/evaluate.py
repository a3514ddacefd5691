"""`owae evaluate`: every level's numbers on held-out data."""

from __future__ import annotations

from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, RunFolder, Seed, Which


def command(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    neighbours: Annotated[int, typer.Option(min=1, help="Nearest neighbours that vote for a label.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples encoded at once; smaller takes less memory.")] = 250,
    seed: Seed = 0,
    checkpoint: Which = Checkpoint.NEWEST,
) -> None:
    """Measure every level on held-out data: error, nearest-neighbour accuracy, spread, and the divergence from the prior."""
    import contextlib
    import json
    import sys

    from owae.cli.scores import print_scores
    from owae.evaluation.scores import evaluate
    from owae.run.opened import open_run

    # Components may import libraries that print; stdout belongs to the result.
    with contextlib.redirect_stdout(sys.stderr):
        opened = open_run(run, checkpoint=checkpoint.value)
        result = evaluate(
            opened.model, opened.source("train"), opened.source("test"), batch_size=batch_size, neighbours=neighbours, seed=seed
        )
    if as_json:
        where = {"run": str(opened.folder), "step": opened.step, "epoch": opened.epoch}
        typer.echo(json.dumps(where | result.to_dict(), indent=2, allow_nan=False))
    else:
        print_scores(result)
