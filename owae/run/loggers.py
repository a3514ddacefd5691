"""Where values and pictures go beside `metrics.jsonl`: a table always, TensorBoard and Weights & Biases by name.

A new destination is one class with the three methods of `Logger`, and its line in `_MAKERS`.
"""

from __future__ import annotations

import csv
import io
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from owae.errors import TrainingError, suggestion
from owae.files import json_ready, write_durably
from owae.run.observers import read_metrics

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]
"""One line of `metrics.jsonl`: `epoch`, `step` and named numbers; None for a number that is not finite."""


class Logger(Protocol):
    """A destination. What a method raises is said, and ends the destination, not the training."""

    def values(self, values: Values) -> None:
        """Take one logged step."""

    def picture(self, name: str, image: Image, step: int) -> None:
        """Take a picture drawn after a step: "samples" or "reconstructions"."""

    def close(self) -> None:
        """Write out whatever is still held."""


class CsvLogger:
    """`metrics.csv`: the lines of `metrics.jsonl` as a table. Whole lines only; an empty cell where a number is not finite.

    Opened, it is written anew from the lines that the run keeps, so what an interrupted run wrote in it is never gone on from.
    """

    def __init__(self, path: Path, lines: Sequence[Values] = ()) -> None:
        self.path = path
        self._keys = list(dict.fromkeys(key for line in lines for key in line))
        write_durably(path, self._text(lines, header=True) if lines else "")

    def values(self, values: Values) -> None:
        new = [key for key in values if key not in self._keys]
        if new:
            with self.path.open(newline="") as file:
                earlier = list(csv.DictReader(file))
            self._keys += new
            write_durably(self.path, self._text([*earlier, values], header=True))
        else:
            with self.path.open("a", newline="") as file:
                file.write(self._text([values]))

    def picture(self, name: str, image: Image, step: int) -> None:
        """A table holds no pictures; they are files beside it."""

    def close(self) -> None:
        """Every line is written as it comes."""

    def _text(self, lines: Iterable[Values], *, header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._keys, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()


class TensorBoardLogger:
    """Event files in the folder `tensorboard` of a run; a run gone on with replaces the steps that it takes again."""

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def values(self, values: Values) -> None:
        for name, value in _numbers(values).items():
            self._writer.add_scalar(name, value, values["step"])

    def picture(self, name: str, image: Image, step: int) -> None:
        import numpy as np

        self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WandbLogger:
    """A run of Weights & Biases, in the project "owae" unless `WANDB_PROJECT` names another; its id is kept in the run folder.

    Whether it talks to a server is wandb's to decide: `WANDB_MODE=offline` keeps all of it in the run folder.
    """

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]) -> None:
        import os

        import wandb  # pyright: ignore[reportMissingImports] # an extra

        kept = folder / "wandb-id"
        if not kept.exists():
            write_durably(kept, secrets.token_hex(8))
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "owae"),
            name=folder.name,
            id=kept.read_text(),
            dir=str(folder),
            config=dict(config),
            resume="allow",
        )

    def values(self, values: Values) -> None:
        self._run.log(_numbers(values), step=values["step"])

    def picture(self, name: str, image: Image, step: int) -> None:
        self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _numbers(values: Values) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float) and name != "step"}


_MAKERS: dict[str, Callable[[Path, int, Mapping[str, Any]], Logger]] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger}
_PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
NAMES = ("csv", *_MAKERS)


def require(names: Iterable[str]) -> None:
    """Make sure that loggers can be had, before anything is waited for.

    Raises:
        TrainingError: A name is unknown, or its package is not installed or broken; the message has the extra to install.
    """
    import importlib

    for name in names:
        if name not in NAMES:
            raise TrainingError(f"no logger is called '{name}'; {suggestion(name, NAMES)}")
        if name not in _PACKAGES:
            continue
        try:
            importlib.import_module(_PACKAGES[name])
        except Exception as error:  # a package that is there but broken raises whatever it likes
            raise TrainingError(
                f"logger '{name}' cannot be used: {type(error).__name__}: {error}; `pip install 'owae[{name}]'` installs what it "
                "needs, or take it out of train.loggers"
            ) from error


class Loggers:
    """The destinations of one run, to be closed at its end: `with Loggers(…) as loggers`.

    Args:
        metrics: The run's `metrics.jsonl`, with the lines that the run keeps, if it is there; all else is written beside it.
        names: "tensorboard", "wandb"; the table is always written.
        step: Steps taken before.
        config: What is trained, for those that show it.

    Raises:
        TrainingError: One cannot be had, or cannot be opened.
    """

    def __init__(self, metrics: Path, names: Iterable[str] = (), step: int = 0, config: Values | None = None) -> None:
        names = [name for name in dict.fromkeys(names) if name != "csv"]
        require(names)
        self._table = CsvLogger(metrics.with_suffix(".csv"), read_metrics(metrics) if metrics.exists() else ())
        self._others: dict[str, Logger] = {}
        for name in names:
            try:
                self._others[name] = _MAKERS[name](metrics.parent, step, config or {})
            except Exception as error:  # of a library that may ask a server
                self.close()
                raise TrainingError(
                    f"logger '{name}' cannot be opened: {error}; take it out of train.loggers to go without"
                ) from error

    def values(self, values: Values) -> None:
        """Hand one logged step to all; a number that is not finite as None."""
        values = json_ready(dict(values))
        self._table.values(values)
        self._each(lambda other: other.values(values))

    def picture(self, name: str, image: Image, step: int) -> None:
        """Hand a picture to all."""
        self._each(lambda other: other.picture(name, image, step))

    def close(self) -> None:
        """Close all."""
        self._each(lambda other: other.close())
        self._others = {}

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _each(self, act: Callable[[Logger], None]) -> None:
        for name, other in list(self._others.items()):
            try:
                act(other)
            except Exception as error:  # what a server or another's disk does must not end a week of training
                del self._others[name]
                logger.warning("logger '%s' failed and is left out from here on: %s", name, error)
