"""Arguments that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from owae.files import expanded


class Checkpoint(StrEnum):
    """Which of a run's checkpoints the model is taken from."""

    NEWEST = "newest"
    BEST = "best"
    FIRST = "first"


RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, as `owae train` makes.", show_default=False, parser=expanded)
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides every draw and choice: the same seed, the same result.")]
Which = Annotated[
    Checkpoint,
    typer.Option(
        "--checkpoint",
        help="The newest, the best by the metric that `best` in [train] named, or that of the first training, before any phase after it.",
    ),
]
Moved = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=PATH",
        help="Say where the run's data are now, as data.path=/new/place, if they have moved; may be repeated.",
        show_default=False,
    ),
]
