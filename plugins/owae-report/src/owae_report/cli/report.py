"""`owae report`: a run as one HTML file. Nothing heavy is imported before it runs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.files import expanded
from owae_report.cli.arguments import Channels

if TYPE_CHECKING:
    from owae_report.figure_data import FigureData

logger = logging.getLogger(__name__)


def command(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", parser=expanded, help="The file.", show_default="RUN/report.html")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Embed the decoders of a stack of MLPs: the page decodes every point itself.")
    ] = False,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What samples are judged by, as in `owae evaluate`.", show_default=False),
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Measure the run, as `owae evaluate` does.")] = True,
    umap: Annotated[bool, typer.Option(help="Embed codes by UMAP too; it compiles for some ten seconds or more.")] = True,
    seed: Seed = 0,
    shown_channels: Channels = None,
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Write a run as one HTML file: config, curves, numbers, figures and its deepest latent to move in; it needs no network."""
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_report.embeddings import threads_kept
    from owae_report.evaluation.whole import Options as Measured
    from owae_report.figure_data import FigureData, Options
    from owae_report.page.document import Contents, document
    from owae_report.pixels import write

    path = out or run / "report.html"
    if path.is_dir():
        path = path / "report.html"
    with tempfile.TemporaryDirectory() as folder, quiet_stdout(), threads_kept():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        data = FigureData(opened, Options(seed=seed, channels=shown_channels))
        _ = opened.model, data.shown  # before anything is begun, what cannot be opened or shown is told
        laid_out = _begin_umap(data, Path(folder)) if umap else None
        contents = Contents(live, Measured(features or (), seed=seed) if evaluate else None, laid_out)
        html = document(data, contents)
    typer.echo(write(path, html.encode()))


def _begin_umap(data: FigureData, folder: Path) -> Callable[[], bytes]:
    """Starts UMAP in a process of its own, where it compiles while the rest is made, and returns what waits for it and draws."""
    import torch

    from owae.errors import OwaeError
    from owae_report.embeddings import neighbourhood
    from owae_report.figures import draw
    from owae_report.layouts import begin

    # It has a core to itself: threads that share one wait for each other.
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    try:
        started = begin([neighbourhood(codes) for codes in data.codes], data.options.seed, folder)
    except OwaeError as error:  # said where the figure would stand
        started = partial(_refuse, error)

    def drawn() -> bytes:
        data.laid_out = started()
        return draw("embeddings-umap", [data])[0]

    return drawn


def _refuse(error: Exception) -> NoReturn:
    raise error
