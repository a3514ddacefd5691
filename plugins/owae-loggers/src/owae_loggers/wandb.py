"""Weights & Biases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from owae.files import write_durably
from owae.interfaces import Observer, Picture
from owae.run.observers import Training
from owae_loggers.shared import numbers, require


class Wandb(Observer):
    """A run of Weights & Biases, in the project "owae" unless `WANDB_PROJECT` names another; its id is kept in the run folder.

    Whether it talks to a server is wandb's to decide: `WANDB_MODE=offline` keeps all of it in the run folder.
    """

    name = "wandb"

    def __init__(self, training: Training, /) -> None:
        import wandb  # pyright: ignore[reportMissingImports] # an extra

        kept = training.folder / "wandb-id"
        if not kept.exists():
            write_durably(kept, secrets.token_hex(8))
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "owae"),
            name=training.folder.name,
            id=kept.read_text(),
            dir=str(training.folder),
            config=dict(training.config),
            resume="allow",
        )

    @classmethod
    def require(cls) -> None:
        require(cls.name, "wandb")

    def values(self, values: Mapping[str, float | None]) -> None:
        self._run.log(numbers(values), step=values["step"])

    def picture(self, name: str, picture: Picture, step: int) -> None:
        self._run.log({name: self._wandb.Image(picture)}, step=step)

    def close(self) -> None:
        self._run.finish()
