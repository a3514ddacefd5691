"""Measures a trained stack as a whole: its levels, its samples, and whether it repeats what it was trained on.

Each number stands alone: what cannot be computed is a line of `missing`, and the rest is there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

from owae.data.sources import Subset, examples
from owae.errors import OwaeError
from owae.files import json_ready
from owae.interfaces import DataSource
from owae.model.stack import Stack
from owae_report.evaluation import generalisation, levels, samples
from owae_report.evaluation.extractors import (
    Extractor,
    FileFeatures,
    Pixels,
    defaults,
    evenly,
    extractor,
    features_of,
    read_blocks,
    unit_scale,
)
from owae_report.evaluation.generalisation import Generalisation
from owae_report.evaluation.scores import Evaluation, evaluate
from owae_report.events import draw_samples

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        features: Extractors by name; two of different making unless given.
        number: Samples a seed; as many as held-out examples, 5,000 at most, unless given.
        seeds: Sampling seeds.
        seed: Decides every draw and choice.
        neighbours: Neighbours that vote for a label.
        batch_size: Examples encoded at once.
        blocks: Which of "samples", "generalisation" and "levels" are measured; what `scores.evaluate` gives always is.
    """

    features: Sequence[str] = ()
    number: int | None = None
    seeds: int = 3
    seed: int = 0
    neighbours: int = 10
    batch_size: int = 250
    blocks: Sequence[str] = ("samples", "generalisation", "levels")


@dataclass(frozen=True)
class Judgement:
    """A stack measured on held-out data.

    Attributes:
        scores: Errors, accuracies and the divergence.
        levels: By level, bottom first: probe, dimension, active, share, state; empty where they were not asked for.
        baselines: By level: PCA and a random projection of the same dimension.
        classes: By class name: held-out examples and accuracy in the deepest level.
        samples: What `samples.judge` returns, or None.
        generalisation: Nearest training examples, or None.
        missing: What could not be computed, and why.
        seconds: How long it took.
    """

    scores: Evaluation
    levels: list[dict[str, Any]]
    baselines: dict[int, Any]
    classes: dict[str, Any] | None
    samples: dict[str, Any] | None
    generalisation: Generalisation | None
    missing: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, fit for JSON; a number that is not finite is None."""
        found = self.scores.to_dict()
        for i, (level, more) in enumerate(zip(found["levels"], self.levels, strict=False), start=1):
            level |= {**more, "baselines": self.baselines.get(i)}
        return json_ready(
            found
            | {
                "classes": self.classes,
                "samples": self.samples,
                "generalisation": None if self.generalisation is None else asdict(self.generalisation),
                "missing": list(self.missing),
                "seconds": self.seconds,
            }
        )


def judge(stack: Stack, train: DataSource, test: DataSource, options: Options | None = None) -> Judgement:
    """Measures a stack by training and held-out examples; neither it nor torch's generators are changed.

    Held-out and training examples with values that are not finite are left out, and said to be.

    Raises:
        DataError: The test set is empty.
    """
    options = options or Options()
    begun = time.perf_counter()
    missing: list[str] = []

    def attempt(name: str, compute: Callable[[], T]) -> T | None:
        """Returns what is computed, or None and a line of `missing`."""
        try:
            return compute()
        except Exception as error:  # a bad number must not cost the others, whatever a library raises
            text = str(error).strip().splitlines()
            missing.append(f"{name}: {text[0] if text else type(error).__name__}")
            logger.debug("%s could not be computed", name, exc_info=True)
            return None

    train, test = _finite(train, "training", missing), _finite(test, "held-out", missing)
    scores = evaluate(
        stack,
        train,
        test,
        batch_size=options.batch_size,
        neighbours=options.neighbours,
        seed=options.seed,
        tolerate=missing.append,
    )
    details: list[dict[str, Any]] = []
    baselines: dict[int, Any] = {}
    classes = None
    if "levels" in options.blocks:
        codes = attempt("the levels' codes", lambda: levels.encoded(stack, train, test, options.batch_size))
        if codes is not None:
            details = levels.details(stack, scores, codes, attempt, options.seed)
            classes = attempt("accuracy by class", lambda: levels.by_class(test, codes, stack.depth - 1, options.neighbours))
        baselines = attempt("baselines", lambda: levels.compared(stack, train, test, options.neighbours)) or {}
    judged = None
    if "samples" in options.blocks:
        judged = attempt("samples", lambda: _samples(stack, train, test, options))
    generalised = None
    if "generalisation" in options.blocks:
        generalised = attempt("generalisation", lambda: _generalise(stack, train, test, options))
    if judged is not None:
        missing += [
            f"{name}, {metric}: {each[metric]['why']}"
            for name, each in judged["extractors"].items()
            for metric in samples.METRICS
            if metric in each and each[metric]["value"] is None
        ]
    seconds = round(time.perf_counter() - begun, 1)
    return Judgement(scores, details, baselines, classes, judged, generalised, tuple(missing), seconds)


def _samples(stack: Stack, train: DataSource, test: DataSource, options: Options) -> dict[str, Any]:
    found: dict[str, Extractor | FileFeatures | OwaeError] = {}
    for text in options.features or defaults(train):
        try:
            found[text] = extractor(text, train)
        except OwaeError as error:
            found[text] = error
    return samples.judge(stack, train, test, found, number=options.number, seeds=options.seeds, seed=options.seed)


def _generalise(stack: Stack, train: DataSource, test: DataSource, options: Options) -> Generalisation:
    pixels = Pixels(tuple(test.shape))
    held = evenly(len(test), generalisation.MOST)
    rows = evenly(len(train), generalisation.MOST_TRAIN)
    drawn = unit_scale(draw_samples(stack, len(held), options.seed).cpu(), test.value_range)
    ours, theirs, known = (features_of(pixels, blocks) for blocks in ([drawn], read_blocks(test, held), read_blocks(train, rows)))
    return generalisation.generalise(ours, theirs, known, rows)


def _finite(source: DataSource, name: str, missing: list[str]) -> DataSource:
    """Returns a source without the examples that hold values which are not finite."""
    if not len(source) or source.batch(torch.arange(1)).dtype == torch.uint8:
        return source
    parts = torch.arange(len(source)).split(1000)
    good = torch.cat([part[examples(source, part).flatten(1).isfinite().all(1)] for part in parts])
    if len(good) == len(source) or not len(good):
        return source
    missing.append(f"{len(source) - len(good)} of {len(source)} {name} examples hold values that are not finite and are left out")
    return Subset(source, good)
