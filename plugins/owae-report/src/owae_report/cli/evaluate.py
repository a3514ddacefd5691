"""`owae evaluate`: every level's numbers on held-out data."""

from __future__ import annotations

from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.streams import quiet_stdout


def command(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    neighbours: Annotated[int, typer.Option(min=1, help="Nearest neighbours that vote for a label.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples encoded at once; smaller takes less memory.")] = 250,
    seed: Seed = 0,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Measure every level on held-out data: error, nearest-neighbour accuracy, spread, and the divergence from the prior."""
    from owae.cli.tables import print_json
    from owae.run.opened import open_run
    from owae_report.cli.scores import print_scores
    from owae_report.evaluation.scores import evaluate

    with quiet_stdout():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        result = evaluate(
            opened.model, opened.source("train"), opened.source("test"), batch_size=batch_size, neighbours=neighbours, seed=seed
        )
    if as_json:
        where = {"run": str(opened.folder), "step": opened.step, "epoch": opened.epoch}
        print_json(where | result.to_dict())
    else:
        print_scores(result)
