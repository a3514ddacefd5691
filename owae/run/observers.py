"""Chooses the observers of a training and tells each what happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from owae.config.config import Config
from owae.errors import ConfigError, OwaeError, Problem, TrainingError, suggestion
from owae.interfaces import DataSource, Observer
from owae.model.stack import Stack
from owae.registry.registry import Registry
from owae.training.options import Options

logger = logging.getLogger(__name__)

# Configs written before loggers were plugins name these.
_OF_OWAE_LOGGERS = {"csv", "tensorboard", "wandb"}


@dataclass(frozen=True)
class Training:
    """What an observer knows of the training that it watches.

    Attributes:
        folder: The run folder, which holds `metrics.jsonl` with the lines of the steps taken before.
        stack: The model.
        test: Examples that it is not trained on.
        options: The table [train] of its config.
        config: The whole config, as plain values.
        step: Steps taken before.
        averaged: `with training.averaged():` runs the block with averaged parameters, if an average is kept.
    """

    folder: Path
    stack: Stack
    test: DataSource
    options: Options
    config: Mapping[str, Any]
    step: int
    averaged: Callable[[], AbstractContextManager[None]]


def observer_classes(config: Config, registry: Registry) -> list[type[Observer]]:
    """Returns the observers that watch every training, and those that `train.loggers` names; a `ConfigError` for unknown names."""
    names, known = config.train.loggers, registry.names("observer")
    problems = []
    for i, name in enumerate(names):
        if name not in known:
            source = f"; `pip install owae-loggers` brings '{name}'" if name in _OF_OWAE_LOGGERS else ""
            problems.append(Problem(f"train.loggers[{i}]", f"found '{name}'; {suggestion(name, known)}{source}"))
    if problems:
        raise ConfigError(problems, config.source)
    always = [entry.name for entry in registry.entries if issubclass(entry.cls, Observer) and entry.cls.always]
    return [registry.get("observer", name) for name in dict.fromkeys([*always, *names])]


class Observers:
    """Calls the observers of a training; to be closed at its end.

    What an observer raises is logged once and ends the observer, not the training: a server that is gone must not end a week of
    work. Only an `OwaeError` is raised on, for what it names, such as a full disk, has to be mended first.
    """

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def open(self, cls: type[Observer], training: Training) -> None:
        """Makes an observer of a training; `TrainingError` if one that `train.loggers` names cannot be made."""
        try:
            self._observers.append(cls(training))  # pyright: ignore[reportCallIssue] # as the interface asks of a constructor
        except OwaeError:
            raise
        except Exception as error:
            if not cls.always:
                raise TrainingError(
                    f"logger '{cls.name}' cannot be opened: {error}; take it out of train.loggers to go without"
                ) from error
            _warn_of_failure(cls, error)

    def values(self, values: Mapping[str, float | None]) -> None:
        """Hands one logged step to all."""
        self._call(lambda observer: observer.values(values))

    def epoch_ended(self, epoch: int, step: int, *, last: bool) -> None:
        """Tells all that an epoch has ended, with a step, and hands what each draws to all."""
        for drawn in self._call(lambda observer: observer.epoch_ended(epoch, last=last)):
            for name, picture in (drawn or {}).items():
                self._call(lambda observer, name=name, picture=picture: observer.picture(name, picture, step))

    def close(self) -> None:
        """Closes all."""
        while self._observers:
            observer = self._observers.pop()
            try:
                observer.close()
            except Exception as error:
                _warn_of_failure(type(observer), error)

    def _call(self, act: Callable[[Observer], Any]) -> list[Any]:
        """Has all of them act and returns what they give; one that fails is left out from here on."""
        given = []
        for observer in list(self._observers):
            try:
                given.append(act(observer))
            except OwaeError:
                raise
            except Exception as error:  # of a server, or of another's disk
                self._observers.remove(observer)
                _warn_of_failure(type(observer), error)
        return given


def _warn_of_failure(cls: type[Observer], error: Exception) -> None:
    logger.warning("logger '%s' failed and is left out from here on: %s", cls.name, error)
