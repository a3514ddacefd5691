"""Takes a few steps of every training that a config asks for, to see that they work and how long they take."""

from __future__ import annotations

import copy
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from owae.config.build import build_phases, build_stack, phase_options
from owae.config.config import Config
from owae.data.sources import Subset
from owae.interfaces import DataSource
from owae.model.stack import Stack
from owae.registry.registry import Registry
from owae.training.loop import Fit
from owae.training.options import Options

STEPS = 3  # that are timed, after one that is not


@dataclass(frozen=True)
class Training:
    """What a training takes.

    Attributes:
        name: "train", or the phase.
        steps: How many steps it has.
        seconds: How long one takes.
    """

    name: str
    steps: int
    seconds: float

    @property
    def total(self) -> float:
        return self.steps * self.seconds


@dataclass(frozen=True)
class Trial:
    """What all trainings take.

    Attributes:
        trainings: The first one, then the phases.
        device: Where they were tried.
        memory: Bytes held at most: of the GPU, or of this process; None where that is not known.
    """

    trainings: list[Training]
    device: str
    memory: int | None

    @property
    def total(self) -> float:
        return sum(training.total for training in self.trainings)

    def __str__(self) -> str:
        parts = ", ".join(
            f"{each.name} {duration(each.total)} ({each.steps:,} steps of {_short(each.seconds)})" for each in self.trainings
        )
        memory = "" if self.memory is None else f", {self.memory / 2**30:.1f} GiB of memory"
        return f"about {duration(self.total)} on '{self.device}': {parts}{memory}"


def attempt(config: Config, registry: Registry, train: DataSource) -> Trial:
    """Takes steps of the first training and of each phase, on a part of the examples.

    Raises:
        OwaeError: A step fails.
    """
    torch.manual_seed(config.train.seed)
    stack = build_stack(config, registry, tuple(train.shape), train.value_range)
    phases = build_phases(config, registry, stack)
    options = {"train": config.train, **{name: phase_options(phase, config.train) for name, phase in phases.items()}}
    largest = max(each.batch_size for each in options.values())
    part = Subset(train, torch.arange(min(len(train), (STEPS + 1) * largest)))
    trainings, device = [], torch.device("cpu")
    for name, given in options.items():
        source: DataSource = part
        if name in phases:
            stack = phases[name].extend(copy.deepcopy(stack)).to(device)
            phases[name].prepare(stack, part)
            source = phases[name].examples(part)
        seconds, device = _timed(stack, source, given)
        trainings.append(Training(name, given.epochs * -(-len(train) // given.batch_size), seconds))
    return Trial(trainings, device.type, _peak(device))


def _timed(stack: Stack, source: DataSource, options: Options) -> tuple[float, torch.device]:
    fit = Fit(stack, source, options=options.model_copy(update={"compile": False, "workers": 0}))
    try:
        times = [*itertools.islice(_clock(fit), STEPS + 1)]
    finally:
        fit.loader.close()
    return min(times[1:] or times), fit.device


def _clock(fit: Fit) -> Iterator[float]:
    begun = time.perf_counter()
    for step in fit:
        step.objective.loss.item()  # waits for a GPU
        now = time.perf_counter()
        yield now - begun
        begun = time.perf_counter()


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def duration(seconds: float) -> str:
    """Words a time.

    >>> duration(0.4), duration(75), duration(3000), duration(9000)
    ('1 second', '75 seconds', '50 minutes', '2.5 hours')
    """
    if seconds < 99.5:
        count = max(1, round(seconds))
        return f"{count} second" + ("s" if count > 1 else "")
    return f"{seconds / 60:.0f} minutes" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} hours"


def _short(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
