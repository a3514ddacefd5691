"""`owae compare`: evaluations of several runs in one table. Nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Seed, Which
from owae.files import expanded


def command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", parser=expanded, help="Two run folders or more.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What samples are judged by, as in `owae evaluate`.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Sampling seeds of each run.")] = 3,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=expanded, help="Also draw samples and reconstructions side by side here.", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    checkpoint: Which = Checkpoint.NEWEST,
) -> None:
    """Compare runs on held-out data: seeds of one config are averaged, and the best is marked where it is ahead of its error."""
    from dataclasses import asdict

    from owae.cli.tables import print_json, print_table
    from owae.run.identity import fingerprint
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_report.evaluation.comparison import compare, grouped
    from owae_report.evaluation.whole import Options, judge_run
    from owae_report.page.judgement import FACTORS, TITLES

    if len({path.resolve() for path in runs}) < max(2, len(runs)):
        raise typer.BadParameter("give two different run folders or more", param_hint="RUN…")
    short = len({path.name for path in runs}) == len(runs)
    with quiet_stdout():
        opened = {path.name if short else str(path): open_run(path, checkpoint=checkpoint.value) for path in runs}
        groups = grouped({name: run.config.to_dict() for name, run in opened.items()})
        options = Options(features or (), seeds=seeds, seed=seed)
        results = {name: judge_run(run, options).to_dict() for name, run in opened.items()}
        measured_on = {name: fingerprint(run.source("test")) for name, run in opened.items()}
    rows, warnings = compare(results, groups, measured_on)
    if as_json:
        print_json({"groups": groups, "rows": [asdict(row) for row in rows], "warnings": warnings, "runs": results})
    else:
        names = {
            group: group if len(members) == 1 else f"{group} (mean of {len(members)} seeds)" for group, members in groups.items()
        }
        table = []
        for row in rows:
            metric, by, extractor = row.name.partition(" by ")
            factor = FACTORS.get(metric, 1)
            cells = [_cell(cell, factor) + (" *" if row.best == group else "") for group, cell in row.cells.items()]
            table.append([TITLES.get(metric, metric) + by + extractor, *cells])
        print_table(["number", *names.values()], table, right=names.values())
        typer.echo(
            "*: best by more than two standard errors of every difference. ± is the standard error: over training seeds where"
        )
        typer.echo("there are several, else over sampling seeds or held-out examples alone, which says nothing of another training")
        for group, members in groups.items():
            if len(members) > 1:
                typer.echo(f"{group} is the mean of {', '.join(members)}, whose configs differ by the seed alone")
        for warning in warnings:
            typer.echo(f"warning: {warning}")
    if figures is not None:
        _draw(list(opened.items()), figures, seed)


def _cell(cell, factor: float) -> str:
    if cell is None:
        return "–"
    from owae_report.words import plain

    return plain(factor * cell.value, 4) + ("" if cell.error is None else f" ± {plain(factor * cell.error, 1)}")


def _draw(opened: list, folder: Path, seed: int) -> None:
    from owae_report.errors import NotDrawableError
    from owae_report.figure_data import FigureData, Options
    from owae_report.figures import draw
    from owae_report.pixels import write

    compared = []
    for name, run in opened:
        compared.append(FigureData(run, Options(seed=seed)))
        compared[-1].name = name
    for figure in ("samples", "reconstructions"):
        try:
            (content,) = draw(figure, compared)
        except NotDrawableError as error:
            typer.echo(f"{figure} not drawn: {error}", err=True)
            continue
        typer.echo(write(folder / f"{figure}.png", content), err=True)
