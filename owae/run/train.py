"""Trains what a config describes into a run folder."""

from __future__ import annotations

import logging
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from owae.run import checkpoint
from owae.run.folder import CHECKPOINTS, INFO, delete_run, locked, writing
from owae.run.identity import identity, require_same, write_info
from owae.run.log import Log, open_log
from owae.run.observers import observer_classes
from owae.run.opened import Run
from owae.run.saving import Saving
from owae.run.signals import Interrupts
from owae.torch_state import deterministic
from owae.training.ema import load_model
from owae.training.loop import Fit, Step
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
        _tell_of_examples(config, built)
        for phase in built.phases.values():
            _split(built.train, phase_options(phase, options))
        fabric = launch(options.device, devices=options.devices, nodes=options.nodes, precision=options.precision)
        with ExitStack() as opened:
            data: dict[str, Any] = {}
            if fabric.is_global_zero:
                opened.enter_context(locked(folder, may_hold_run=resume or overwrite))
                data = identity({"train": built.train, "test": built.test})
                if resume and (folder / INFO).exists():
                    require_same(folder, config, registry, data)
            interrupts = opened.enter_context(Interrupts())
            opened.enter_context(deterministic(options.deterministic))
            with peers():
                fabric.barrier()  # for the folder
            if not (resume and checkpoint.paths(folder / CHECKPOINTS)):  # else what they measure or load is in the checkpoint
                for beginning in built.beginnings.values():
                    beginning.prepare(built.stack, built.train)
            saving = _begin(folder, config, built, fabric, interrupts, resume=resume)
            if fabric.is_global_zero:  # until here nothing of a run in the folder was touched
                if overwrite:
                    delete_run(folder)
                write_info(folder, config, registry, built, data)
            _train(folder, config, built, saving, observers)
            before = folder
            for name, phase in built.phases.items():
                logger.info("%s: a further phase of training, in %s", name, folder / name)
                further, built = _extended(before, folder / name, config, built, phase, fabric)
                before = folder / name
                taught = replace(built, train=phase.examples(built.train))
                saving = _begin(before, further, taught, fabric, interrupts, after=saving.steps.step)
                _train(before, further, taught, saving, observers)
            with peers():
                fabric.barrier()  # for what the first still draws and writes
        leave(fabric)
    return Run(folder, registry)


def _tell_of_examples(config: Config, built: Built) -> None:
    """Logs how many examples there are, and of what shape."""
    examples, held_out = _split(built.train, config.train)
    validated = "" if held_out is None else f", {len(held_out):,} to validate on"
    low, high = built.train.value_range
    shape = "×".join(map(str, built.train.shape))
    text = f"{len(examples):,} examples to train on{validated}, {len(built.test):,} to test on, {shape} in [{low:g}, {high:g}]"
    logger.info("data '%s': %s", config.data.kind, text)


def _extended(before: Path, folder: Path, config: Config, built: Built, phase: Phase, fabric: Fabric) -> tuple[Config, Built]:
    """Returns what a phase trains, made of what the training before it has left in its folder, and how it trains it."""
    options = phase_options(phase, config.train)
    with peers():
        fabric.barrier()  # for the last checkpoint of the training before
    # From the file, so that it makes no difference whether the training before has ended just now.
    newest = checkpoint.load_newest(before / CHECKPOINTS)
    assert newest is not None
    load_model(built.stack, newest[1], averaged=True)
    torch.manual_seed(options.seed)
    stack = phase.extend(built.stack).to(fabric.device)
    if not checkpoint.paths(folder / CHECKPOINTS):
        phase.prepare(stack, built.train)
    return config.model_copy(update={"train": options}), replace(built, stack=stack)


def _split(source: DataSource, options: Options) -> tuple[DataSource, DataSource | None]:
    """Returns the examples to train on and those held out, if any are."""
    return (source, None) if options.validation is None else hold_out(source, options.validation, options.seed)


def _begin(
    folder: Path, config: Config, built: Built, fabric: Fabric, interrupts: Interrupts, *, after: int = 0, resume: bool = True
) -> Saving:
    """Makes the training of a stack, `after` so many steps of the training before, and goes on from its checkpoints; writes nothing."""
    options = config.train
    examples, held_out = _split(built.train, options)
    steps = Fit(built.stack, examples, validation=held_out, fabric=fabric, options=options)
    saving = Saving(folder / CHECKPOINTS, steps, interrupts, after)
    if resume:
        saving.resume()
    return saving


def _train(folder: Path, config: Config, built: Built, saving: Saving, observers: list[type[Observer]]) -> None:
    """Takes the steps of a training that are left, and logs them in a folder."""
    steps, best, main = saving.steps, saving.best, saving.steps.fabric.is_global_zero
    if saving.newest is not None:
        with peers():
            steps.fabric.barrier()  # until all have read it under the name that it has
        if main:
            with writing(folder):
                checkpoint.put_in_order(saving.newest, steps.step)
    if saving.complete:
        more = "train.epochs" if steps.step >= len(steps) else "train.best.patience"
        logger.info("%s is complete: %d steps; raise %s to train longer", folder, steps.step, more)
        return
    with open_log(folder, config, built, steps, observers) if main else nullcontext() as log:
        for step in steps:
            _after(step, saving, log)
            if saving.complete:
                break
    if best is not None and best.done:
        logger.info("stopped after epoch %d: no better %s for %d validations", steps.epoch, best.metric, best.waited)


def _after(step: Step, saving: Saving, log: Log | None) -> None:
    """Validates, logs and saves after a step, each where its turn has come; the log is that of the main process.

    Raises:
        InterruptionError: A signal stops training here.
    """
    steps, best = saving.steps, saving.best
    looks = steps.validation is not None and step.last and step.epoch % steps.options.validate_every == 0
    looked = steps.validate() if looks else {}
    better = best is not None and looks and best.update(looked)
    if saving.complete and step.step < len(steps):
        steps.conclude()  # as it does by itself after the last
    if log is not None:
        log.step(step, looked)
    due, stopped = saving.due(step)
    try:
        # Before the checkpoint: killed meanwhile, training comes here again, and nothing that is drawn is missing.
        if log is not None and step.last:
            log.epoch_ended(step, last=saving.complete)
    finally:
        saving.save(due=due, better=better)
    if stopped is not None:
        raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)
