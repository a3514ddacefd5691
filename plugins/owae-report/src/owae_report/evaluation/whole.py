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
from torch import Tensor

from owae.data.sources import Subset, examples
from owae.errors import OwaeError
from owae.files import json_ready
from owae.interfaces import DataSource, Prior
from owae.model.stack import Stack
from owae.run.opened import Run
from owae_report.evaluation import generalisation, levels, samples
from owae_report.evaluation.extractors import (
    Extractor,
    FileFeatures,
    Pixels,
    defaults,
    evenly,
    extractor,
    features_of,
    named,
    read_blocks,
    unit_scale,
)
from owae_report.evaluation.generalisation import Generalisation
from owae_report.evaluation.scores import Evaluation, evaluate
from owae_report.events import Draws
from owae_report.words import counted

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

    def __post_init__(self) -> None:
        for text in self.features:
            named(text)  # a name that is none is told before anything is measured


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


def judge_run(run: Run, options: Options | None = None, drawn: Draws | None = None) -> Judgement:
    """Measures a run on its data, as `judge` does; also against the prior of the first training, where a later phase has fitted another."""
    return judge(run.model, run.source("train"), run.source("test"), options, drawn=drawn, matched=matched_prior(run))


def matched_prior(run: Run) -> Prior | None:
    """Returns the prior that a run's encoders were trained to match, where its samples are drawn from another; else None."""
    if not run.phases:
        return None
    try:
        first = Run(run.folder, run.registry, "first").model
    except OwaeError as error:
        logger.warning("the prior of the first training cannot be had, so codes are not compared with it: %s", error)
        return None
    ours, theirs = run.model.prior, first.prior
    kept, before = ours.state_dict(), theirs.state_dict()
    same = type(ours) is type(theirs) and kept.keys() == before.keys() and all(torch.equal(kept[key], before[key]) for key in kept)
    return None if same else first.matched_prior


def judge(
    stack: Stack,
    train: DataSource,
    test: DataSource,
    options: Options | None = None,
    *,
    drawn: Draws | None = None,
    matched: Prior | None = None,
) -> Judgement:
    """Measures a stack by training and held-out examples; neither it nor torch's generators are changed.

    Held-out and training examples with values that are not finite are left out, and said to be.

    Args:
        stack: The stack.
        train: Training examples.
        test: Held-out ones.
        options: What is measured, and how.
        drawn: The stack's samples under the seed of the options, where they are looked at elsewhere too.
        matched: The prior that the encoders were trained to match, where it is not the stack's.

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

    drawn = drawn or Draws(stack, options.seed)
    whole = train, test
    finite = _finite_places(train), _finite_places(test)
    train, test = _finite(train, finite[0], "training", missing), _finite(test, finite[1], "held-out", missing)
    scores = evaluate(
        stack,
        train,
        test,
        batch_size=options.batch_size,
        neighbours=options.neighbours,
        seed=options.seed,
        tolerate=missing.append,
        matched=matched,
    )
    details: list[dict[str, Any]] = []
    baselines: dict[int, Any] = {}
    classes = None
    if "levels" in options.blocks:
        codes = attempt("the levels' codes", lambda: levels.encoded(stack, train, test, options.batch_size))
        if codes is not None:
            details = levels.details(stack, scores, codes, attempt, options.seed)
            if (why := levels.missing_labels(codes.train_labels, codes.test_labels)) is not None:
                missing.append(f"accuracy and probe of every level: {why}")
            classes = attempt("accuracy by class", lambda: levels.by_class(test, codes, stack.depth - 1, options.neighbours))
        measured = attempt("baselines", lambda: levels.compared(stack, train, test, options.neighbours))
        baselines = measured or {}
        large = ", ".join(f"z_{i}" for i in range(1, stack.depth + 1) if i not in baselines)
        if measured is not None and large:
            missing.append(f"baselines as large as {large}: training examples, or the numbers of one, are fewer than dimensions")
    judged = None
    if "samples" in options.blocks:
        judged = attempt("samples", lambda: _samples(stack, train, test, options, drawn))
    repeated = None
    if "generalisation" in options.blocks:
        repeated = attempt("generalisation", lambda: generalised(drawn, *whole, finite=finite))
        if repeated is not None and repeated.copying is None:
            missing.append(f"C_T: {_uncompared(repeated.n)}")
    if judged is not None:
        missing += _uncounted(judged["extractors"])
        missing += [f"{name} of samples: {each['why']}" for name, each in judged["look"].items() if "why" in each]
    seconds = round(time.perf_counter() - begun, 1)
    return Judgement(scores, details, baselines, classes, judged, repeated, tuple(missing), seconds)


def _uncompared(n: int) -> str:
    """Says why there is no C_T of n samples and as many held-out examples."""
    if n >= generalisation.FEWEST:
        return "all distances are equal"
    return f"found {counted(n, 'held-out example')} and as many samples; its z-score needs at least {generalisation.FEWEST} of each"


def _uncounted(extractors: dict[str, Any]) -> list[str]:
    """Says which numbers of samples there are not, and why: those of one extractor that lack for one reason in one line."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, each in extractors.items():
        for metric in samples.METRICS:
            if metric in each and each[metric]["value"] is None:
                reasons.setdefault((name, each[metric]["why"] or "the number is not finite"), []).append(metric)
    return [f"{', '.join(metrics)} by {name}: {why}" for (name, why), metrics in reasons.items()]


def _samples(stack: Stack, train: DataSource, test: DataSource, options: Options, drawn: Draws) -> dict[str, Any]:
    found: dict[str, Extractor | FileFeatures | OwaeError] = {}
    for text in options.features or defaults(train):
        try:
            found[text] = extractor(text, train)
        except OwaeError as error:
            found[text] = error
        except Exception as error:  # one that cannot be had costs its own column, whatever a library raises
            logger.debug("%s could not be made", text, exc_info=True)
            found[text] = OwaeError(f"it cannot be had: {type(error).__name__}: {error}")
    return samples.judge(stack, train, test, found, number=options.number, seeds=options.seeds, drawn=drawn, seed=options.seed)


def generalised(
    drawn: Draws, train: DataSource, test: DataSource, pairs: int = 16, finite: tuple[Tensor, Tensor] | None = None
) -> Generalisation:
    """Looks for a stack's samples among the training examples, by pixels; examples with values that are not finite are left out.

    Args:
        drawn: Its samples.
        train: Training examples, 100,000 at most, evenly spread.
        test: Held-out ones, 1,000 at most, evenly spread; as many samples are taken.
        pairs: How many nearest pairs to name, by their places in these sources.
        finite: The places of training and of held-out examples whose values are finite, where they are known.
    """
    pixels = Pixels(tuple(test.shape))
    known_train, known_test = finite or (_finite_places(train), _finite_places(test))
    held = known_test[evenly(len(known_test), generalisation.MOST)]
    rows = known_train[evenly(len(known_train), generalisation.MOST_TRAIN)]
    ours = features_of(pixels, [unit_scale(drawn.first(len(held)), test.value_range)])
    theirs, known = (features_of(pixels, read_blocks(source, at)) for source, at in ((test, held), (train, rows)))
    return generalisation.generalise(ours, theirs, known, rows, held, pairs)


def _finite(source: DataSource, good: Tensor, name: str, missing: list[str]) -> DataSource:
    """Returns a source without the examples that hold values which are not finite; `good` are the places of the others."""
    if len(good) == len(source) or not len(good):
        return source
    missing.append(f"{len(source) - len(good)} of {len(source)} {name} examples hold values that are not finite and are left out")
    return Subset(source, good)


def _finite_places(source: DataSource) -> Tensor:
    places = torch.arange(len(source))
    if not len(source) or source.batch(places[:1]).dtype == torch.uint8:
        return places
    return torch.cat([part[examples(source, part).flatten(1).isfinite().all(1)] for part in places.split(1000)])
