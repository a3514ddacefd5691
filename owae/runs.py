"""A run folder: everything that one training wrote, from its config to its last checkpoint.

RUN/
├── config.toml       the effective config, every default filled in, paths absolute
├── run.json          versions of owae, torch and the plugins; the seed; the data's shape and range
├── metrics.jsonl     one line a logged step; metrics.csv, the same as a table; what train.loggers names beside them
├── checkpoints/      step-000001250.safetensors, …
└── pictures/         samples and layer-wise reconstructions, as training goes
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import owae
from owae.build import Built, build, build_stack
from owae.config import Config
from owae.errors import InterruptionError, TrainingError
from owae.files import clear_temporary, write_durably
from owae.interfaces import DataSource, Shape
from owae.noise import NoiseFloor, noise_floor
from owae.registry import Registry
from owae.stack import Stack
from owae.training import checkpoint, loggers
from owae.training.loop import Fit
from owae.training.observers import Health, Metrics, Pictures, Progress
from owae.training.signals import Interrupts
from owae.training.state import load_model

logger = logging.getLogger(__name__)

CONFIG, INFO, METRICS, CHECKPOINTS, PICTURES, LOCK = "config.toml", "run.json", "metrics.jsonl", "checkpoints", "pictures", ".lock"
FORMAT = 1
# What may differ between a run and its continuation: none of it changes the mathematics of the steps already taken.
_FREE = {"epochs", "device", "log_every", "pictures_every", "checkpoint_every", "keep", "workers", "loggers"}


class Run:
    """A run folder, opened to read. See `open_run`.

    Attributes:
        folder: Where it is.
        config: The effective config it was trained with.
        shape: The shape of one example.
        value_range: The range of the examples' values.
    """

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self._registry = folder, registry
        if not (folder / CONFIG).is_file() or not (folder / INFO).is_file():
            what = "is not a run folder: it has no config.toml and run.json" if folder.is_dir() else "does not exist"
            raise TrainingError(f"{folder} {what}; `owae train CONFIG --out {folder}` makes one")
        self.config = Config.load(folder / CONFIG, registry)
        try:
            info = json.loads((folder / INFO).read_text())
            self.shape: Shape = tuple(info["data"]["shape"])
            self.value_range: tuple[float, float] = tuple(info["data"]["value_range"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{folder / INFO} is damaged: {error}") from error

    def __repr__(self) -> str:
        return f"Run('{self.folder}')"

    @cached_property
    def _state(self) -> dict[str, Any]:
        state = checkpoint.load_newest(self.folder / CHECKPOINTS)
        if state is None:
            raise TrainingError(
                f"{self.folder} has no checkpoint yet; `owae train {self.folder / CONFIG} --out {self.folder} --resume` goes on"
            )
        return state

    @cached_property
    def model(self) -> Stack:
        """The trained stack, from the newest whole checkpoint, on the CPU, in evaluation mode.

        Raises:
            TrainingError: There is none, or it does not fit the config.
        """
        stack = build_stack(self.config, self._registry, self.shape, self.value_range)
        load_model(stack, self._state)
        return stack.eval()

    @property
    def step(self) -> int:
        """Optimiser steps behind the model."""
        return self._state["step"]

    @property
    def epoch(self) -> int:
        """Epochs behind the model, the last one perhaps in part."""
        return -(-self.step // self._state["steps_per_epoch"])

    def source(self, split: str = "test") -> DataSource:
        """The data the run was trained ("train") or is measured ("test") on."""
        return self.config.data.create(self._registry, split)


def open_run(path: str | Path, registry: Registry | None = None) -> Run:
    """Open a run folder.

    Args:
        path: The folder.
        registry: The components to build its model from; those of the installed plugins unless given.

    Raises:
        TrainingError: It is no run folder.
        ConfigError: Its config needs a component that is not installed.
    """
    return Run(Path(path), Registry.discover() if registry is None else registry)


def train(config: Config, registry: Registry, *, out: Path | None = None, resume: bool = False, overwrite: bool = False) -> Run:
    """Train what a config describes into a run folder.

    Args:
        config: What to train.
        registry: The components it names.
        out: The run folder; `runs/<name of the config file>` unless given.
        resume: Go on from the newest checkpoint in the folder, where there is one.
        overwrite: Replace a run that is already there.

    Raises:
        TrainingError: The folder is taken, or training cannot go on; checkpoints written before stay.
        InterruptionError: SIGINT or SIGTERM, after the step under way was finished and saved.
    """
    if resume and overwrite:
        raise TrainingError("resume and overwrite contradict each other; choose one")
    folder = (out or Path("runs") / (Path(config.source).stem or "run")).absolute()
    loggers.require(config.train.loggers)
    # Whatever the config or the data have wrong shows here, before there is a folder.
    built = build(config, registry)
    with _claimed(folder, config, resume=resume, overwrite=overwrite), Interrupts() as interrupts:
        _describe(folder, config, registry, built)
        _train(folder, config, built, interrupts)
    return Run(folder, registry)


def _train(folder: Path, config: Config, built: Built, interrupts: Interrupts) -> None:
    options = config.train
    steps = Fit(
        built.stack,
        built.train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        schedule=options.schedule,
        clip_gradients=options.clip_gradients,
        seed=options.seed,
        device=options.device,
        workers=options.workers,
    )
    state = checkpoint.load_newest(folder / CHECKPOINTS)
    if state is not None:
        steps.restore(state)
        logger.info("going on after step %d of %d", steps.step, len(steps))
    if steps.step >= len(steps):
        logger.info("%s is complete: %d steps; raise train.epochs to train longer", folder, steps.step)
        return
    metrics = Metrics(folder / METRICS, steps.step, _floor(built, options.batch_size))
    drawn = Pictures(folder / PICTURES, built.stack, built.test, options.seed)
    health = Health()
    with (
        loggers.Loggers(folder / METRICS, options.loggers, steps.step, _jsonable(config)) as sinks,
        Progress(steps).shown() as progress,
    ):
        for step in steps:
            if step.step % options.log_every == 0 or step.last or step.step == 1:
                health.look(metrics.write(steps, step))
                sinks.values(metrics.latest)
            progress.tick(step, metrics.latest)
            ends = step.step == len(steps)
            stopped = None if ends else interrupts.received
            if ends or stopped is not None or (step.last and step.epoch % options.checkpoint_every == 0):
                checkpoint.save(folder / CHECKPOINTS, steps.state(), keep=options.keep)
            if ends or (step.last and options.pictures_every and step.epoch % options.pictures_every == 0):
                for name, image in drawn.draw(step.epoch).items():
                    sinks.picture(name, image, step.step)
            if stopped is not None:
                raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)


def _floor(built: Built, batch_size: int) -> NoiseFloor | None:
    """The divergence's noise floor, said before training; None for an ancestral prior, which training moves."""
    stack = built.stack
    meaning = ", ".join(f"{key} {value}" for key, value in stack.divergence.describe(stack.matched_prior.shape).items())
    if stack.stacked < stack.depth:
        logger.info("%s", meaning)
        return None
    floor = noise_floor(stack.divergence, stack.prior, min(batch_size, len(built.train)))
    logger.info("%s; between equal distributions, n = %d: %s", meaning, floor.n, floor)
    return floor


@contextmanager
def _claimed(folder: Path, config: Config, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """The folder, made ready and locked against other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise TrainingError(f"the run folder {folder} cannot be made or written: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"another process is training in {folder}; choose another folder with --out") from error
        # What an interrupted write left is no file of anybody's: it must not make the folder look taken.
        for part in (folder, folder / CHECKPOINTS, folder / PICTURES):
            clear_temporary(part)
        _prepare(folder, config, resume=resume, overwrite=overwrite)
        yield
    finally:
        os.close(lock)


def _prepare(folder: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    there = [path for path in folder.iterdir() if path.name != LOCK]
    is_run = (folder / INFO).exists()
    if there and not is_run:
        raise TrainingError(f"{folder} holds other files ({there[0].name}, …) and no run; choose another folder with --out")
    if is_run and not (resume or overwrite):
        raise TrainingError(
            f"{folder} already holds a run; --resume goes on with it, --overwrite replaces it, --out names another folder"
        )
    if is_run and overwrite:
        # What marks the folder as a run goes last, so that an interrupted overwrite can be repeated.
        for path in sorted(there, key=lambda path: path.name == INFO):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if is_run and resume:
        changed = _differences(json.loads((folder / INFO).read_text())["config"], _jsonable(config))
        if changed:
            raise TrainingError(f"{folder} was trained with another config; these differ: {'; '.join(changed)}")


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            if place == "train" and key in _FREE:
                continue
            found += _differences(old.get(key), new.get(key), f"{place}.{key}" if place else key)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            difference for i, pair in enumerate(zip(old, new, strict=True)) for difference in _differences(*pair, f"{place}[{i}]")
        ]
    return [] if old == new else [f"{place}: was {old!r}, is {new!r}"]


def _jsonable(config: Config) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_dict(), default=str))


def _describe(folder: Path, config: Config, registry: Registry, built: Built) -> None:
    info = {
        "format": FORMAT,
        "versions": {"owae": owae.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "plugins": [{"name": name, "distribution": owner, "version": version} for name, owner, version in registry.plugins],
        "seed": config.train.seed,
        "data": {
            "shape": list(built.train.shape),
            "value_range": list(built.train.value_range),
            "train": len(built.train),
            "test": len(built.test),
        },
        "divergence": built.stack.divergence.describe(built.stack.matched_prior.shape),
        "config": _jsonable(config),
    }
    # First what marks the folder as a run: whatever interrupts the rest, --resume and --overwrite then know it for one.
    write_durably(folder / INFO, json.dumps(info, indent=2) + "\n")
    write_durably(folder / CONFIG, config.to_toml())
