"""A run folder: everything that one training wrote, from its config to its last checkpoint.

RUN/
├── config.toml       the effective config, every default filled in, paths absolute
├── run.json          versions of owae, torch and the plugins; the seed; what the data are known by
├── metrics.jsonl     one line a logged step
├── checkpoints/      step-000001250.safetensors, …
├── <phase>/          the same of a further phase of training: metrics.jsonl, checkpoints/
└── …                 what observers write: metrics.csv (owae-loggers), pictures/ (owae-report)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from owae.config.build import build_source, build_stack
from owae.config.config import Config
from owae.errors import DataError, TrainingError
from owae.interfaces import DataSource, Shape
from owae.model.stack import Stack
from owae.registry.discovery import bound
from owae.registry.registry import Registry
from owae.run import checkpoint as checkpoints
from owae.run.folder import CHECKPOINTS, CONFIG, INFO
from owae.run.identity import changes, differences, identity, locations, read_info, since_training
from owae.training.ema import load_model

logger = logging.getLogger(__name__)


class Run:
    """A run folder, opened to read.

    Args:
        path: The folder.
        registry: The components to build its model from; those of the installed plugins unless given.
        checkpoint: The newest one that is whole, the best by the metric that `train.best` names, or the newest of the "first" training,
            without the phases after it.
        overrides: Where the data are now, if they have moved, as `data.path=/new/place`; relative to the current folder.

    Attributes:
        folder: Where it is.
        registry: The components that its config names.
        config: The effective config it was trained with.
        shape: The shape of one example.
        value_range: The range of the examples' values.
        dtype: What the examples are stored as, such as "uint8".
        phases: The phases of training that are behind the model, after the first.

    Raises:
        TrainingError: It is no run folder, or something else than the data's place was set.
        ConfigError: Its config needs a component that is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        registry: Registry | None = None,
        checkpoint: Literal["newest", "best", "first"] = "newest",
        overrides: Iterable[str] = (),
    ) -> None:
        self.folder = folder = Path(path)
        self.registry = registry = Registry.discover() if registry is None else registry
        self._checkpoint = checkpoint
        if checkpoint not in ("newest", "best", "first"):
            raise TrainingError(f"found checkpoint '{checkpoint}'; 'newest', 'best' and 'first' would work")
        if not (folder / CONFIG).is_file() or not (folder / INFO).is_file():
            if folder.exists() and not folder.is_dir():
                raise TrainingError(f"{folder} is a file; a run folder, as `owae train` makes, would work")
            what = "is not a run folder: it has no config.toml and run.json" if folder.is_dir() else "does not exist"
            raise TrainingError(f"{folder} {what}; `owae train CONFIG --out {folder}` makes one")
        saved = Config.load(folder / CONFIG, registry)
        self.config = Config.load(folder / CONFIG, registry, overrides, folder=Path.cwd())
        if changed := differences(saved, self.config, locations(saved, self.config)):
            raise TrainingError(f"{folder} is trained, so only where its data are can be set; found {'; '.join(changed)}")
        self._moved = saved != self.config
        info = read_info(folder)
        if edited := since_training(folder, info, saved, registry):
            raise TrainingError(f"{folder / CONFIG} was changed after the training, whose model it describes: {'; '.join(edited)}")
        begun = takewhile(lambda name: checkpoints.paths(folder / name / CHECKPOINTS), self.config.phases)
        self.phases = () if checkpoint == "first" else tuple(begun)
        self._data, self._warned = info["data"], False
        self.shape: Shape = tuple(self._data["shape"])
        self.value_range: tuple[float, float] = tuple(self._data["value_range"])
        self.dtype: str = self._data.get("dtype", "float32")
        self.class_names: list[str] | None = self._data.get("class_names")

    def __getattr__(self, name: str) -> Any:
        """Looks up what plugins add to a run, as owae-report does `figures` and `evaluate`."""
        return bound(self, name)

    def __repr__(self) -> str:
        return f"Run('{self.folder}')"

    @cached_property
    def _state(self) -> dict[str, Any]:
        folder = self.folder.joinpath(*self.phases[-1:], CHECKPOINTS)
        if self._checkpoint == "best":
            path = checkpoints.best_path(folder)
            if not path.exists():
                raise TrainingError(
                    f'{folder.parent} keeps no best checkpoint; train with best = "validation/loss" in [train] for one'
                )
            return checkpoints.load(path)
        newest = checkpoints.load_newest(folder)
        if newest is None:
            raise TrainingError(
                f"{self.folder} has no checkpoint yet; `owae train {self.folder / CONFIG} --out {self.folder} --resume` goes on"
            )
        return newest[1]

    @cached_property
    def model(self) -> Stack:
        """The trained stack, from the checkpoint that was asked for, on the CPU, in evaluation mode.

        It is that of the last phase of training that has a checkpoint, or, as "first", of the first training. Where training kept a moving
        average of the parameters (`train.ema`), those are the parameters. `TrainingError` if there is none, or it does not fit the config.
        """
        stack = build_stack(self.config, self.registry, self.shape, self.value_range, self.phases)
        load_model(stack, self._state, averaged=True)
        return stack.eval()

    def natural(self, events: Tensor) -> Tensor:
        """Returns events (…, *shape) in the units of the data, undoing what the source has scaled; others as they are."""
        if not self._data.get("units"):
            return events
        shift, scale = (torch.tensor(self._data["units"][name], dtype=torch.float64).to(events) for name in ("shift", "scale"))
        return events * scale + shift if len(scale) == 1 else events * scale.view(self.shape) + shift.view(self.shape)

    @property
    def step(self) -> int:
        """Optimiser steps of the last phase behind the model."""
        return self._state["step"]

    @property
    def epoch(self) -> int:
        """Epochs of the last phase behind the model, the last one perhaps in part."""
        return -(-self.step // self._state["steps_per_epoch"])

    def source(self, split: str = "test") -> DataSource:
        """The data the run was trained ("train") or is measured ("test") on; a warning, once, where they have changed since.

        Raises:
            DataError: They are missing, or the place that was set for them has others.
        """
        try:
            source = build_source(self.config, self.registry, split)
        except DataError as error:
            places = sorted(locations(self.config))
            moved = f"; if the data have moved, --set {places[0]}=… says where they are" if places else ""
            raise DataError(f"{error}{moved}") from error
        changed = changes(self._data, identity({split: source}))
        text = f"the data are not those that {self.folder} was trained on: {'; '.join(changed)}"
        if changed and self._moved:
            raise DataError(f"{text}; --set takes the place of the same data alone")
        if changed and not self._warned:
            self._warned = True
            logger.warning("%s", text)
        return source


open_run = Run  # a verb for whoever opens one
