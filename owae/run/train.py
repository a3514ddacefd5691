"""A run folder: everything that one training wrote, from its config to its last checkpoint.

RUN/
├── config.toml       the effective config, every default filled in, paths absolute
├── run.json          versions of owae, torch and the plugins; the seed; the data's shape and range
├── metrics.jsonl     one line a logged step; metrics.csv, the same as a table; what train.loggers names beside them
├── checkpoints/      step-000001250.safetensors, …
└── pictures/         samples and layer-wise reconstructions, as training goes
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from owae.config.build import Built, build, build_stack
from owae.config.config import Config
from owae.data.sources import hold_out
from owae.errors import InterruptionError, TrainingError
from owae.evaluation.noise_floor import NoiseFloor, noise_floor
from owae.interfaces import DataSource, Shape
from owae.model.stack import Stack
from owae.parallel.launch import launch, one_voice
from owae.parallel.world import World
from owae.registry.registry import Registry
from owae.run import checkpoint, loggers
from owae.run.best import Watch
from owae.run.determinism import deterministic
from owae.run.folder import CHECKPOINTS, CONFIG, INFO, METRICS, PICTURES, claimed, describe, jsonable, writing
from owae.run.observers import Health, Metrics, Pictures, Progress
from owae.run.signals import Interrupts
from owae.training.loop import Fit, Step
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
        loggers.require(options.loggers)
        # Whatever the config or the data have wrong shows here, before there is a folder.
        built = build(config, registry)
        data = (built.train, None) if options.validation is None else hold_out(built.train, options.validation, options.seed)
        world = launch(options.device, devices=options.devices, nodes=options.nodes)
        with ExitStack() as opened:
            if world.leads:
                opened.enter_context(claimed(folder, config, registry, resume=resume, overwrite=overwrite))
                describe(folder, config, registry, built)
            interrupts = opened.enter_context(Interrupts())
            opened.enter_context(deterministic(options.deterministic))
            world.wait()  # for the folder
            _train(folder, config, built, data, world, interrupts)
            world.wait()  # for what the first still draws and writes
        world.close()
    return Run(folder, registry)


def _train(
    folder: Path, config: Config, built: Built, data: tuple[DataSource, DataSource | None], world: World, interrupts: Interrupts
) -> None:
    options = config.train
    steps = Fit(built.stack, data[0], validation=data[1], world=world, **{name: getattr(options, name) for name in _OF_FIT})
    steps.signal = lambda: interrupts.received
    watch = None if options.best is None else Watch(**options.best.model_dump())
    state = checkpoint.load_newest(folder / CHECKPOINTS)
    if state is not None:
        steps.restore(state)
        for watched in (state.get("watches") or {}).values():  # of several, as checkpoints once had, the one of this metric
            if watch is not None:
                watch.restore(watched)
        logger.info("going on after step %d of %d", steps.step, len(steps))
    if steps.step >= len(steps) or (watch is not None and watch.done):
        more = "train.epochs" if steps.step >= len(steps) else "train.best.patience"
        logger.info("%s is complete: %d steps; raise %s to train longer", folder, steps.step, more)
        return
    with _observed(folder, config, built, steps) as observers:
        for step in steps:
            looked = steps.validate() if data[1] is not None and step.last and step.epoch % options.validate_every == 0 else {}
            better = watch is not None and bool(looked) and watch.see(looked)
            ends = step.step == len(steps) or (watch is not None and watch.done)
            observers.log(step, looked)
            received = interrupts.received if world.size == 1 else step.signal
            stopped = None if ends else received or None
            due = ends or stopped is not None or (step.last and step.epoch % options.checkpoint_every == 0)
            if world.leads and (due or better):
                state = steps.state() | {"watches": {} if watch is None else {"best": watch.state()}}
                if better:
                    checkpoint.save_best(folder / CHECKPOINTS, state)
                if due:
                    checkpoint.save(folder / CHECKPOINTS, state, keep=options.keep)
            if ends or (step.last and options.pictures_every and step.epoch % options.pictures_every == 0):
                observers.draw(step)
            if stopped is not None:
                raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)
            if ends:
                break
    if watch is not None and watch.done:
        logger.info("stopped after epoch %d: no better %s for %d validations", steps.epoch, watch.metric, watch.waited)


class _Silent:
    """What a process that does not write does with a step."""

    def log(self, step: Step, looked: Mapping[str, float]) -> None:
        """Nothing."""

    def draw(self, step: Step) -> None:
        """Nothing."""


class _Observers(_Silent):
    def __init__(self, folder: Path, config: Config, built: Built, steps: Fit) -> None:
        self._folder, self._options, self._steps = folder, config.train, steps
        self._metrics = Metrics(folder / METRICS, steps.step, _floor(built, config.train.batch_size))
        self._pictures = Pictures(folder / PICTURES, built.stack, built.test, config.train.seed)
        self._health = Health()
        self._sinks = loggers.Loggers(folder / METRICS, config.train.loggers, steps.step, jsonable(config))
        self._progress = Progress(steps)

    @contextmanager
    def shown(self) -> Iterator[_Observers]:
        with self._sinks, self._progress.shown():
            yield self

    def log(self, step: Step, looked: Mapping[str, float]) -> None:
        if step.step % self._options.log_every == 0 or step.last or step.step == 1:
            skipped = {"skipped": self._steps.skipped} if self._options.skip_bad_steps else {}
            with writing(self._folder):
                values = self._metrics.write(self._steps, step, {**looked, **skipped})
            self._health.look(values)
            self._sinks.values(values)
        self._progress.tick(step, self._metrics.latest)

    def draw(self, step: Step) -> None:
        with self._steps.averaged(), writing(self._folder):
            drawn = self._pictures.draw(step.epoch)
        for name, image in drawn.items():
            self._sinks.picture(name, image, step.step)


def _observed(folder: Path, config: Config, built: Built, steps: Fit) -> AbstractContextManager[_Silent]:
    return _Observers(folder, config, built, steps).shown() if steps.world.leads else nullcontext(_Silent())


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
