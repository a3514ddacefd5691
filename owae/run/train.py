"""A run folder: everything that one training wrote, from its config to its last checkpoint.

RUN/
├── config.toml       the effective config, every default filled in, paths absolute
├── run.json          versions of owae, torch and the plugins; the seed; the data's shape and range
├── metrics.jsonl     one line a logged step
├── checkpoints/      step-000001250.safetensors, …
└── …                 what observers write: metrics.csv (owae-loggers), pictures/ (owae-report)
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from owae.config.build import Built, build, build_stack
from owae.config.config import Config
from owae.data.sources import hold_out
from owae.errors import InterruptionError, TrainingError
from owae.interfaces import DataSource, Observer, Shape
from owae.model.stack import Stack
from owae.parallel.launch import launch, one_voice
from owae.parallel.world import World
from owae.registry.registry import Registry
from owae.run import checkpoint
from owae.run.best import Watch
from owae.run.determinism import deterministic
from owae.run.folder import CHECKPOINTS, CONFIG, INFO, claimed, describe
from owae.run.log import open_log
from owae.run.observers import chosen
from owae.run.signals import Interrupts
from owae.training.loop import Fit
from owae.training.state import load_model

logger = logging.getLogger(__name__)

# Keys of [train] that are arguments of `Fit`.
_OF_FIT = (
    *("epochs", "batch_size", "accumulate", "optimizer", "schedule", "warmup", "clip_gradients", "skip_bad_steps", "ema"),
    *("precision", "compile", "memory_format", "checkpoint_activations", "seed", "workers"),
)


class Run:
    """A run folder, opened to read. See `open_run`.

    Attributes:
        folder: Where it is.
        config: The effective config it was trained with.
        shape: The shape of one example.
        value_range: The range of the examples' values.
    """

    def __init__(self, folder: Path, registry: Registry, checkpoint: Literal["newest", "best"] = "newest") -> None:
        self.folder, self._registry, self._checkpoint = folder, registry, checkpoint
        if checkpoint not in ("newest", "best"):
            raise TrainingError(f"found checkpoint '{checkpoint}'; 'newest' and 'best' would work")
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
        if self._checkpoint == "best":
            path = checkpoint.best_path(self.folder / CHECKPOINTS)
            if not path.exists():
                raise TrainingError(
                    f'{self.folder} keeps no best checkpoint; train with best = "validation/loss" in [train] for one'
                )
            return checkpoint.load(path)
        state = checkpoint.load_newest(self.folder / CHECKPOINTS)
        if state is None:
            raise TrainingError(
                f"{self.folder} has no checkpoint yet; `owae train {self.folder / CONFIG} --out {self.folder} --resume` goes on"
            )
        return state

    @cached_property
    def model(self) -> Stack:
        """The trained stack, from the newest whole checkpoint or the best one, on the CPU, in evaluation mode.

        Where training kept a moving average of the parameters (`train.ema`), those are the parameters.

        Raises:
            TrainingError: There is none, or it does not fit the config.
        """
        stack = build_stack(self.config, self._registry, self.shape, self.value_range)
        load_model(stack, self._state, averaged=True)
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


def open_run(path: str | Path, registry: Registry | None = None, *, checkpoint: Literal["newest", "best"] = "newest") -> Run:
    """Open a run folder.

    Args:
        path: The folder.
        registry: The components to build its model from; those of the installed plugins unless given.
        checkpoint: The newest one that is whole, or the best by the metric that `train.best` names.

    Raises:
        TrainingError: It is no run folder.
        ConfigError: Its config needs a component that is not installed.
    """
    return Run(Path(path), Registry.discover() if registry is None else registry, checkpoint)


def train(config: Config, registry: Registry, *, out: Path | None = None, resume: bool = False, overwrite: bool = False) -> Run:
    """Train what a config describes into a run folder.

    With `train.devices` or `train.nodes`, or started by torchrun or SLURM, this process is one of several: the first writes and
    reports; the others end (`SystemExit`) where they would only repeat what it says.

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
    options = config.train
    with one_voice():
        observers = chosen(config, registry)
        for observer in observers:
            observer.require()
        # Whatever the config or the data have wrong shows here, before there is a folder.
        built = build(config, registry)
        data = (built.train, None) if options.validation is None else hold_out(built.train, options.validation, options.seed)
        world = launch(options.device, devices=options.devices, nodes=options.nodes, strategy=options.strategy)
        with ExitStack() as opened:
            if world.leads:
                opened.enter_context(claimed(folder, config, resume=resume, overwrite=overwrite))
                describe(folder, config, registry, built)
            interrupts = opened.enter_context(Interrupts())
            opened.enter_context(deterministic(options.deterministic))
            world.wait()  # for the folder
            _train(folder, config, built, data, world, interrupts, observers)
            world.wait()  # for what the first still draws and writes
        world.close()
    return Run(folder, registry)


def _train(
    folder: Path,
    config: Config,
    built: Built,
    data: tuple[DataSource, DataSource | None],
    world: World,
    interrupts: Interrupts,
    observers: list[type[Observer]],
) -> None:
    options = config.train
    steps = Fit(built.stack, data[0], validation=data[1], world=world, **{name: getattr(options, name) for name in _OF_FIT})
    steps.signal = lambda: interrupts.received
    best = None if options.best is None else Watch(options.best)
    stopping = None if options.early_stopping is None else Watch(**options.early_stopping.model_dump())
    watches = {name: watch for name, watch in (("best", best), ("early_stopping", stopping)) if watch is not None}
    state = checkpoint.load_newest(folder / CHECKPOINTS)
    if state is not None:
        steps.restore(state)
        for name, watch in watches.items():
            watch.restore((state.get("watches") or {}).get(name))
        logger.info("going on after step %d of %d", steps.step, len(steps))
    if steps.step >= len(steps) or (stopping is not None and stopping.done):
        more = "train.epochs" if steps.step >= len(steps) else "train.early_stopping.patience"
        logger.info("%s is complete: %d steps; raise %s to train longer", folder, steps.step, more)
        return
    with open_log(folder, config, built, steps, observers) if world.leads else nullcontext() as log:
        for step in steps:
            looked = steps.validate() if data[1] is not None and step.last and step.epoch % options.validate_every == 0 else {}
            better = {name for name, watch in watches.items() if looked and watch.see(looked)}
            ends = step.step == len(steps) or (stopping is not None and stopping.done)
            if log is not None:
                log.step(step, looked)
            received = interrupts.received if world.size == 1 else step.signal
            stopped = None if ends else received or None
            due = ends or stopped is not None or (step.last and step.epoch % options.checkpoint_every == 0)
            if world.leads and (due or "best" in better):
                state = steps.state() | {"watches": {name: watch.state() for name, watch in watches.items()}}
                if "best" in better:
                    checkpoint.save_best(folder / CHECKPOINTS, state)
                if due:
                    checkpoint.save(folder / CHECKPOINTS, state, keep=options.keep)
            if log is not None and step.last:
                log.epoch_ended(step, last=ends)
            if stopped is not None:
                raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)
            if ends:
                break
    if stopping is not None and stopping.done:
        logger.info("stopped after epoch %d: no better %s for %d validations", steps.epoch, stopping.metric, stopping.waited)
