"""`owae report`: a run as one HTML file. Nothing heavy is imported before it runs."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from owae.cli.arguments import Checkpoint, Moved, RunFolder, Seed, Which
from owae.files import expanded

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
    checkpoint: Which = Checkpoint.NEWEST,
    moved: Moved = None,
) -> None:
    """Write a run as one HTML file: config, curves, numbers, figures and its deepest latent to move in; it needs no network."""
    from owae.run.opened import open_run
    from owae.streams import quiet_stdout
    from owae_report.evaluation.whole import Options as Measured
    from owae_report.page.document import Contents, document
    from owae_report.pixels import write
    from owae_report.subject import Options, Subject

    path = out or run / "report.html"
    if path.is_dir():
        path = path / "report.html"
    with tempfile.TemporaryDirectory() as folder, quiet_stdout():
        opened = open_run(run, checkpoint=checkpoint.value, overrides=moved or ())
        _ = opened.model  # before anything is begun, what cannot be opened is told
        arguments = [f"--seed={seed}", f"--checkpoint={checkpoint.value}", *(f"--set={each}" for each in moved or ())]
        laid_out = _begin_umap(run, Path(folder), arguments) if umap else None
        contents = Contents(live, Measured(features or (), seed=seed) if evaluate else None, laid_out)
        html = document(Subject(opened, Options(seed=seed)), contents)
    typer.echo(write(path, html.encode()))


def _begin_umap(run: Path, folder: Path, arguments: Sequence[str]) -> Callable[[], bytes]:
    """Starts `owae figures` for UMAP, which compiles while the rest is made, and returns what waits for its PNG."""
    command = [
        sys.executable,
        "-m",
        "owae",
        "figures",
        str(run),
        "--only=embeddings-umap",
        "--format=png",
        f"--out={folder}",
        *arguments,
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait() -> bytes:
        from owae_report.errors import NotDrawableError

        _, said = process.communicate()
        path = folder / "embeddings-umap.png"
        if process.returncode or not path.is_file():
            lines = [line for line in said.splitlines() if "not drawn" in line] or said.splitlines()[-1:]
            raise NotDrawableError(" ".join(lines).removeprefix("embeddings-umap not drawn: ") or f"exit code {process.returncode}")
        return path.read_bytes()

    return wait
