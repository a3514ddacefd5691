"""Trains what a config describes into a run folder."""

from __future__ import annotations

import logging
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
from owae.run.folder import CHECKPOINTS, claimed, describe
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
        InterruptionError: SIGINT or SIGTERM, after the step under way was finished and saved.
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
        fabric = launch(options.device, devices=options.devices, nodes=options.nodes, precision=options.precision)
        with ExitStack() as opened:
            if fabric.is_global_zero:
                opened.enter_context(claimed(folder, config, registry, resume=resume, overwrite=overwrite))
                describe(folder, config, registry, built)
            interrupts = opened.enter_context(Interrupts())
            opened.enter_context(deterministic(options.deterministic))
            with peers():
                fabric.barrier()  # for the folder
            _train(folder, config, built, data, fabric, interrupts, observers)
            with peers():
                fabric.barrier()  # for what the first still draws and writes
        leave(fabric)
    return Run(folder, registry)


def _train(
    folder: Path,
    config: Config,
    built: Built,
    data: tuple[DataSource, DataSource | None],
    fabric: Fabric,
    interrupts: Interrupts,
    observers: list[type[Observer]],
) -> None:
    options = config.train
    steps = Fit(built.stack, data[0], validation=data[1], fabric=fabric, options=options)
    steps.signal = lambda: interrupts.received
    best = None if options.best is None else BestMetric(**options.best.model_dump())
    state = checkpoint.load_newest(folder / CHECKPOINTS)
    if state is not None:
        steps.restore(state)
        if best is not None:
            best.restore(state.get("best"), state.get("watches"))
        logger.info("going on after step %d of %d", steps.step, len(steps))
    if steps.step >= len(steps) or (best is not None and best.done):
        more = "train.epochs" if steps.step >= len(steps) else "train.best.patience"
        logger.info("%s is complete: %d steps; raise %s to train longer", folder, steps.step, more)
        return
    with open_log(folder, config, built, steps, observers) if fabric.is_global_zero else nullcontext() as log:
        for step in steps:
            looked = steps.validate() if data[1] is not None and step.last and step.epoch % options.validate_every == 0 else {}
            better = best is not None and bool(looked) and best.update(looked)
            ends = step.step == len(steps) or (best is not None and best.done)
            if log is not None:
                log.step(step, looked)
            received = interrupts.received if fabric.world_size == 1 else step.signal
            stopped = None if ends else received or None
            due = ends or stopped is not None or (step.last and step.epoch % options.checkpoint_every == 0)
            if due or better:
                state = steps.state() | ({} if best is None else {"best": best.state()})  # all processes give their part
                if better and fabric.is_global_zero:
                    checkpoint.save_best(folder / CHECKPOINTS, state)
                if due and fabric.is_global_zero:
                    checkpoint.save(folder / CHECKPOINTS, state, keep=options.keep)
            if log is not None and step.last:
                log.epoch_ended(step, last=ends)
            if stopped is not None:
                raise InterruptionError(f"stopped by a signal; step {step.step} is saved, --resume goes on", stopped)
            if ends:
                break
    if best is not None and best.done:
        logger.info("stopped after epoch %d: no better %s for %d validations", steps.epoch, best.metric, best.waited)
