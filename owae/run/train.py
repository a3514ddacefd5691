"""Trains what a config describes into a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from owae.config.build import Built, build, phase_options
from owae.config.config import Config
from owae.data.sources import hold_out
from owae.errors import InterruptionError, TrainingError
from owae.interfaces import DataSource, Observer, Phase
from owae.parallel.gather import peers
from owae.parallel.launch import launch, leave, only_main_process_reports
from owae.registry.registry import Registry
from owae.restoring import deterministic
from owae.run import checkpoint
from owae.run.best import BestMetric
from owae.run.folder import CHECKPOINTS, locked_folder, writing
from owae.run.log import open_log
from owae.run.observers import observer_classes
from owae.run.opened import Run
from owae.run.saving import Saving
from owae.run.signals import Interrupts
from owae.training.ema import load_model
from owae.training.loop import Fit
from owae.training.options import Options

logger = logging.getLogger(__name__)


def train(
    config: Config, registry: Registry, *, out: str | Path | None = None, resume: bool = False, overwrite: bool = False
) -> Run:
    """Trains what a config describes into a run folder.

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
        DataError: The data are missing, or not those that the run in the folder was trained on.
        InterruptionError: A signal (`owae.run.signals`), after the step under way was finished and saved.
    """
    if resume and overwrite:
        raise TrainingError("resume and overwrite contradict each other; choose one")
    folder = Path(out or Path("runs") / (Path(config.source).stem or "run")).absolute()
    options = config.train
    with only_main_process_reports():
        observers = observer_classes(config, registry)
        for observer in observers:
            observer.require()
        # Whatever the config or the data have wrong shows here, before there is a folder.
        built = build(config, registry)
        for each in (options, *(phase_options(phase, options) for phase in built.phases.values())):
            _split(built.train, each)
        _tell_of_examples(config, built)
        fabric = launch(options.device, devices=options.devices, nodes=options.nodes, precision=options.precision)
        with ExitStack() as opened:
            make_ready = None
            if fabric.is_global_zero:
                claim = locked_folder(folder, config, registry, built, resume=resume, overwrite=overwrite)
                make_ready = opened.enter_context(claim)
            interrupts = opened.enter_context(Interrupts())
            opened.enter_context(deterministic(options.deterministic))
            with peers():
                fabric.barrier()  # for the folder
            if not (resume and checkpoint.paths(folder / CHECKPOINTS)):
                for beginning in built.beginnings.values():
                    beginning.prepare(built.stack, built.train)
            steps = _train(folder, config, built, fabric, interrupts, observers, resume=resume, make_ready=make_ready)
            before = folder
            for name, phase in built.phases.items():
                logger.info("%s: a further phase of training, in %s", name, folder / name)
                further, built = _extended(before, folder / name, config, built, phase, fabric)
                before = folder / name
                taught = replace(built, train=phase.examples(built.train))
                steps = _train(before, further, taught, fabric, interrupts, observers, after=steps)
            with peers():
                fabric.barrier()  # for what the first still draws and writes
        leave(fabric)
    return Run(folder, registry)


def _tell_of_examples(config: Config, built: Built) -> None:
    """Logs how many examples there are, and of what shape."""
    data = _split(built.train, config.train)
    held_out = "" if data[1] is None else f", {len(data[1]):,} to validate on"
    low, high = built.train.value_range
    shape = "×".join(map(str, built.train.shape))
    text = f"{len(data[0]):,} examples to train on{held_out}, {len(built.test):,} to test on, {shape} in [{low:g}, {high:g}]"
    logger.info("data '%s': %s", config.data.kind, text)


def _extended(before: Path, folder: Path, config: Config, built: Built, phase: Phase, fabric: Fabric) -> tuple[Config, Built]:
    """Returns what a phase trains, made of what the training before it has left in its folder, and how it trains it."""
    options = phase_options(phase, config.train)
    with peers():
        fabric.barrier()  # for the last checkpoint of the training before
    # From the file, so that it makes no difference whether the training before has ended just now.
    state = checkpoint.load_newest(before / CHECKPOINTS)
    assert state is not None
    load_model(built.stack, state, averaged=True)
    torch.manual_seed(options.seed)
    stack = phase.extend(built.stack).to(fabric.device)
    if not checkpoint.paths(folder / CHECKPOINTS):
        phase.prepare(stack, built.train)
    return config.model_copy(update={"train": options}), replace(built, stack=stack)


def _split(source: DataSource, options: Options) -> tuple[DataSource, DataSource | None]:
    """Returns the examples to train on and those held out, if any are."""
    return (source, None) if options.validation is None else hold_out(source, options.validation, options.seed)


def _train(
    folder: Path,
    config: Config,
    built: Built,
    fabric: Fabric,
    interrupts: Interrupts,
    observers: list[type[Observer]],
    *,
    after: int = 0,
    resume: bool = True,
    make_ready: Callable[[], None] | None = None,
) -> int:
    """Trains a stack into a folder, `after` so many steps of the training before; returns the steps taken.

    `make_ready` is called, by the process that has it, before anything is written there.
    """
    options = config.train
    data = _split(built.train, options)
    steps = Fit(built.stack, data[0], validation=data[1], fabric=fabric, options=options)
    best = None if options.best is None else BestMetric(**options.best.model_dump())
    saving = Saving(folder / CHECKPOINTS, steps, best, interrupts, after)
    damaged = saving.resume() if resume else []
    if make_ready is not None:
        make_ready()
    if fabric.is_global_zero and damaged:
        with writing(folder):
            for path in damaged:
                checkpoint.put_aside(path)
    if steps.step >= len(steps) or (best is not None and best.done):
        more = "train.epochs" if steps.step >= len(steps) else "train.best.patience"
        logger.info("%s is complete: %d steps; raise %s to train longer", folder, steps.step, more)
        return steps.step
    with open_log(folder, config, built, steps, observers) if fabric.is_global_zero else nullcontext() as log:
        for step in steps:
            looked = steps.validate() if data[1] is not None and step.last and step.epoch % options.validate_every == 0 else {}
            better = best is not None and bool(looked) and best.update(looked)
            ends = step.step == len(steps) or (best is not None and best.done)
            if ends and step.step < len(steps):
                steps.conclude()
            if log is not None:
                log.step(step, looked)
            due, stopped = saving.asked(step, ends=ends)
            try:
                # Before the checkpoint: killed meanwhile, training comes here again, and nothing that is drawn is missing.
                if log is not None and step.last:
                    log.epoch_ended(step, last=ends)
            finally:
                saving.save(due=due, better=better)
            if stopped is not None:
                raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)
            if ends:
                break
    if best is not None and best.done:
        logger.info("stopped after epoch %d: no better %s for %d validations", steps.epoch, best.metric, best.waited)
    return steps.step
