"""Measures what a level's codes are worth beside `scores`: probe, dimension, activity, what the level decides, its state, baselines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from owae.data.sources import examples
from owae.interfaces import DataSource
from owae.model.inference import evaluating
from owae.model.stack import Stack
from owae_report.evaluation.codes import (
    MOST_PROBED,
    Labelled,
    active_share,
    baselines,
    intrinsic_dimension,
    probe,
)
from owae_report.evaluation.extractors import evenly
from owae_report.evaluation.neighbours import votes
from owae_report.evaluation.samples import class_names
from owae_report.evaluation.scores import Evaluation, LevelScores
from owae_report.evaluation.shares import decided

DETERMINISTIC = 1e-3  # of the encoder's variance over the square of the level's spread
_NUMBERS = 40_000_000  # of a level's codes that are held at once

Try = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Codes:
    """Means at every level, flat: of training and held-out examples, and the encoders' mean variance."""

    train: list[Tensor]
    test: list[Tensor]
    variances: list[Tensor]
    train_labels: Tensor | None
    test_labels: Tensor | None


def encoded(stack: Stack, train: DataSource, test: DataSource, batch_size: int) -> Codes:
    """Encodes up to 5,000 examples of each set, fewer where codes are large, evenly spread."""
    largest = max(math.prod(layer.latent_shape) for layer in stack.layers)
    most = max(100, min(MOST_PROBED, _NUMBERS // largest))
    rows, test_rows = evenly(len(train), most), evenly(len(test), most)
    means, _ = _encode(stack, train, rows, batch_size)
    test_means, variances = _encode(stack, test, test_rows, batch_size)
    labels = [None if source.labels is None else source.labels.cpu()[at] for source, at in ((train, rows), (test, test_rows))]
    return Codes(means, test_means, variances, *labels)


def _encode(stack: Stack, source: DataSource, rows: Tensor, batch_size: int) -> tuple[list[Tensor], list[Tensor]]:
    means: list[list[Tensor]] = [[] for _ in stack.layers]
    variances: list[Tensor | float] = [0.0] * stack.depth
    with evaluating(stack) as device:
        for part in rows.split(batch_size):
            z = examples(source, part, device)
            for i, layer in enumerate(stack.layers):
                q = layer.encode(z)
                z = q.mean
                means[i].append(z.flatten(1).float().cpu())
                variances[i] = variances[i] + q.variance.flatten(1).double().sum(0).cpu() / len(rows)
    return [torch.cat(parts) for parts in means], [torch.as_tensor(each) for each in variances]


def labelled(codes: Codes, level: int) -> Labelled | None:
    """Returns the labelled codes of a level, counted from 0; None where `missing_labels` says why not."""
    if codes.train_labels is None or codes.test_labels is None or missing_labels(codes.train_labels, codes.test_labels) is not None:
        return None
    known, test_known = codes.train_labels >= 0, codes.test_labels >= 0
    return Labelled(
        codes.train[level][known], codes.train_labels[known], codes.test[level][test_known], codes.test_labels[test_known]
    )


def missing_labels(train: Tensor | None, test: Tensor | None) -> str | None:
    """Says why examples cannot be classified by their labels, where they cannot; a label below 0 is none."""
    if train is None or test is None:
        return "the data have no labels"
    known = train[train >= 0]
    if not (test >= 0).any() or not len(known):
        return f"no {'training' if not len(known) else 'held-out'} example has a label"
    return "all labelled training examples are of one class" if len(known.unique()) < 2 else None


def details(stack: Stack, scores: Evaluation | None, codes: Codes, attempt: Try, seed: int = 0) -> list[dict[str, Any]]:
    """Measures every level, bottom first: `probe`, `dimension`, `active`, `share` and `state`, None where one cannot be had."""
    shares = attempt("the levels' shares of the samples' variance", lambda: decided(stack, seed=seed))
    found = []
    for i in range(stack.depth):
        data = labelled(codes, i)
        name = f"z_{i + 1}"
        active = attempt(f"{name}: active coordinates", lambda i=i: active_share(codes.test[i], codes.variances[i]))
        found.append(
            {
                "probe": None if data is None else attempt(f"{name}: linear probe", lambda data=data: probe(data)),
                "dimension": attempt(f"{name}: intrinsic dimension", lambda i=i: intrinsic_dimension(codes.test[i])),
                "active": active,
                "share": None if shares is None else shares[i],
                "state": state(i + 1, stack, active, None if scores is None else scores.levels[i]),
            }
        )
    return found


def state(level: int, stack: Stack, active: float | None, scores: LevelScores | None) -> str:
    """Says what a level is: "untrained", "dead" (no coordinate's mean varies), "deterministic", "alive", or "unknown" where none tells."""
    if level > stack.matched_level:
        return "untrained"
    if active is None and (scores is None or math.isnan(scores.spread)):
        return "unknown"
    if active == 0 or (scores is not None and scores.spread == 0):
        return "dead"
    if scores is not None and scores.variance < DETERMINISTIC * scores.spread**2:
        return "deterministic"
    return "alive"


def by_class(test: DataSource, codes: Codes, level: int, k: int) -> dict[str, dict[str, float]] | None:
    """Returns, by the classes' names, how many held-out examples a class has and the share that nearest neighbours in a level get right."""
    data = labelled(codes, level)
    if data is None:
        return None
    right = votes(data.codes, data.labels, data.test_codes, k) == data.test_labels
    classes = data.test_labels.unique().tolist()
    names = class_names(test, max(classes) + 1)
    return {
        names[each]: {
            "examples": int((data.test_labels == each).sum()),
            "accuracy": float(right[data.test_labels == each].float().mean()),
        }
        for each in classes
    }


def compared(stack: Stack, train: DataSource, test: DataSource, k: int) -> dict[int, dict[str, dict[str, float]]]:
    """Measures PCA and a random projection to each level's dimension, fitted to 5,000 training examples at most."""
    size = math.prod(train.shape)
    most = max(50, min(5000, _NUMBERS // size))
    rows, test_rows = evenly(len(train), most), evenly(len(test), most)
    sets = [examples(source, at).flatten(1) for source, at in ((train, rows), (test, test_rows))]
    labels = None
    if train.labels is not None and test.labels is not None:
        labels = train.labels.cpu()[rows], test.labels.cpu()[test_rows]
        if missing_labels(*labels) is not None:
            labels = None
    sizes = {i: math.prod(layer.latent_shape) for i, layer in enumerate(stack.layers, start=1)}
    return baselines(sets[0], sets[1], sizes, labels, k)
