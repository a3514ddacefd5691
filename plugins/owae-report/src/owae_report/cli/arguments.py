"""Arguments that several of these commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from owae.files import expanded

Separate = Annotated[
    Path | None, typer.Option(metavar="DIR", parser=expanded, help="Also write every picture at its own size into this folder.")
]


class Split(StrEnum):
    """The two sets of a source."""

    TEST = "test"
    TRAIN = "train"


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="test or train, the run's own data; a picture or a folder of them; a .npy or .npz file of examples; a table.",
        show_default=False,
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="N,N,N",
        help="Channels to show as red, green and blue, from 0; a single one is grey.",
        show_default="the first three, where they are no colours",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples encoded at once; smaller takes less memory.")]
