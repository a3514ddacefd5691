"""Trains what a config describes into a run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from owae.config.build import Built, build
from owae.config.config import Config
from owae.data.sources import hold_out
from owae.errors import InterruptionError, TrainingError
from owae.interfaces import DataSource, Observer
from owae.parallel.gather import peers
from owae.parallel.launch import launch, leave, only_main_process_reports
from owae.registry.registry import Registry
from owae.run import checkpoint
from owae.run.best import BestMetric
from owae.run.determinism import deterministic
from owae.run.folder import CHECKPOINTS, claimed, writing
from owae.run.log import open_log
from owae.run.observers import chosen
from owae.run.opened import Run
from owae.run.signals import Interrupts
from owae.training.loop import Fit

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


def train(config: Config, registry: Registry, *, out: Path | None = None, resume: bool = False, overwrite: bool = False) -> Run:
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
    folder = (out or Path("runs") / (Path(config.source).stem or "run")).absolute()
    options = config.train
    with only_main_process_reports():
        observers = chosen(config, registry)
        for observer in observers:
            observer.require()
        # Whatever the config or the data have wrong shows here, before there is a folder.
        built = build(config, registry)
        data = (built.train, None) if options.validation is None else hold_out(built.train, options.validation, options.seed)
        _tell_of_examples(config, built, data)
        fabric = launch(options.device, devices=options.devices, nodes=options.nodes, precision=options.precision)
        with ExitStack() as opened:
            make_ready = None
            if fabric.is_global_zero:
                claim = claimed(folder, config, registry, built, resume=resume, overwrite=overwrite)
                make_ready = opened.enter_context(claim)
            interrupts = opened.enter_context(Interrupts())
            opened.enter_context(deterministic(options.deterministic))
            with peers():
                fabric.barrier()  # for the folder
            _train(folder, config, built, data, fabric, interrupts, observers, resume, make_ready)
            with peers():
                fabric.barrier()  # for what the first still draws and writes
        leave(fabric)
    return Run(folder, registry)


def _tell_of_examples(config: Config, built: Built, data: tuple[DataSource, DataSource | None]) -> None:
    """Logs how many examples there are, and of what shape."""
    held_out = "" if data[1] is None else f", {len(data[1]):,} to validate on"
    low, high = built.train.value_range
    shape = "×".join(map(str, built.train.shape))
    text = f"{len(data[0]):,} examples to train on{held_out}, {len(built.test):,} to test on, {shape} in [{low:g}, {high:g}]"
    logger.info("data '%s': %s", config.data.kind, text)


def _train(
    folder: Path,
    config: Config,
    built: Built,
    data: tuple[DataSource, DataSource | None],
    fabric: Fabric,
    interrupts: Interrupts,
    observers: list[type[Observer]],
    resume: bool,
    make_ready: Callable[[], None] | None,
) -> None:
    """Trains a stack into a folder; `make_ready` is called, by the process that has it, before anything is written there."""
    options = config.train
    steps = Fit(built.stack, data[0], validation=data[1], fabric=fabric, options=options)
    best = None if options.best is None else BestMetric(**options.best.model_dump())
    damaged: list[Path] = []
    state = checkpoint.load_newest(folder / CHECKPOINTS, damaged=damaged) if resume else None
    if state is not None:
        steps.restore(state)
        if best is not None:
            best.restore(state.get("best"), state.get("watches"))
        logger.info("going on after step %d of %d", steps.step, len(steps))
    if make_ready is not None:
        make_ready()
        with writing(folder):
            for path in damaged:
                checkpoint.put_aside(path)
    if steps.step >= len(steps) or (best is not None and best.done):
        more = "train.epochs" if steps.step >= len(steps) else "train.best.patience"
        logger.info("%s is complete: %d steps; raise %s to train longer", folder, steps.step, more)
        return
    saved_at = time.monotonic()

    def wanted() -> int:
        """Returns twice the number of the signal received, and 1 more where it is time for a checkpoint: processes take the largest."""
        minutes = options.checkpoint_minutes
        is_time = minutes is not None and fabric.is_global_zero and time.monotonic() - saved_at >= 60 * minutes
        return 2 * (interrupts.received or 0) + is_time

    steps.signal = wanted
    with open_log(folder, config, built, steps, observers) if fabric.is_global_zero else nullcontext() as log:
        for step in steps:
            looked = steps.validate() if data[1] is not None and step.last and step.epoch % options.validate_every == 0 else {}
            better = best is not None and bool(looked) and best.update(looked)
            ends = step.step == len(steps) or (best is not None and best.done)
            if log is not None:
                log.step(step, looked)
            received, is_time = divmod(wanted() if fabric.world_size == 1 else step.signal, 2)
            stopped = None if ends else received or None
            by_steps = options.checkpoint_steps is not None and step.step % options.checkpoint_steps == 0
            by_epochs = step.last and step.epoch % options.checkpoint_every == 0
            due = ends or stopped is not None or is_time or by_steps or by_epochs
            try:
                # Before the checkpoint: killed meanwhile, training comes here again, and nothing that is drawn is missing.
                if log is not None and step.last:
                    log.epoch_ended(step, last=ends)
            finally:
                if due or better:
                    state = steps.state() | ({} if best is None else {"best": best.state()})  # all processes give their part
                    if better and fabric.is_global_zero:
                        checkpoint.save_best(folder / CHECKPOINTS, state)
                    if due and fabric.is_global_zero:
                        checkpoint.save(folder / CHECKPOINTS, state, keep=options.keep)
                    if due:
                        saved_at = time.monotonic()
            if stopped is not None:
                raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)
            if ends:
                break
    if best is not None and best.done:
        logger.info("stopped after epoch %d: no better %s for %d validations", steps.epoch, best.metric, best.waited)
