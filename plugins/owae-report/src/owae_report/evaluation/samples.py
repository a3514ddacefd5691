"""Judges samples: how far a model's draws are from held-out examples, by several extractors, beside the floor and the spread over seeds.

The floor is what as many training examples get in the samples' place: no model is expected below it. Deviations are over sampling
seeds alone; training has a spread of its own, which takes several runs to see (`owae compare`).
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from owae.errors import OwaeError
from owae.files import json_ready
from owae.interfaces import DataSource
from owae.model.stack import Stack
from owae_report.evaluation import look
from owae_report.evaluation.classifier import Trained
from owae_report.evaluation.distances import (
    SUBSET,
    Manifold,
    Moments,
    frechet,
    kernel_distance,
    neighbourhoods,
    sliced_wasserstein,
)
from owae_report.evaluation.extractors import Extractor, FileFeatures, evenly, features_of, is_picture, read_blocks, unit_scale
from owae_report.events import Draws, draw_samples
from owae_report.words import counted

logger = logging.getLogger(__name__)

MOST = 5000  # samples and held-out examples, unless asked otherwise
METRICS = ("kid", "frechet", "precision", "recall", "density", "coverage", "sliced")
LOWER_IS_BETTER = frozenset({"kid", "frechet", "sliced"})
PROTOCOL = {
    "kid": f"unbiased, kernel (a·b/d + 1)³, subsets of {SUBSET} at most",
    "frechet": "Gaussians of the features, unbiased covariances",
    "precision": "k = 3",
    "recall": "k = 3",
    "density": "k = 5",
    "coverage": "k = 5",
    "sliced": "root of the mean squared 2-Wasserstein distance over 256 directions",
}
_DIFFERENT = 2.0  # by which factor extractors must differ on the same sharpening to be said to disagree


@dataclass(frozen=True)
class Number:
    """A measured number.

    Attributes:
        value: The mean over sampling seeds; None where it could not be had.
        deviation: The standard deviation over sampling seeds; None of one seed.
        floor: The number that training examples get in the samples' place.
        why: Why there is no value.
    """

    value: float | None
    deviation: float | None = None
    floor: float | None = None
    why: str | None = None


class Reference:
    """Held-out features, with what the metrics share of them."""

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self._made: dict[Any, Any] = {}

    def moments(self) -> Moments:
        """Returns their moments, computed once."""
        return self._once("moments", lambda: Moments.of(self.features))

    def manifold(self) -> Manifold:
        """Returns their balls, computed once."""
        return self._once("manifold", lambda: Manifold(self.features))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def measure(features: Tensor, reference: Reference) -> dict[str, float | str]:
    """Computes every metric of features (n, d) against held-out ones; a text where one cannot be had."""
    found: dict[str, float | str] = {}
    for names, compute in (
        (("kid",), lambda: (kernel_distance(features, reference.features),)),
        (("frechet",), lambda: (frechet(features, reference.moments()),)),
        (("precision", "recall", "density", "coverage"), lambda: neighbourhoods(features, reference.manifold()).values()),
        (("sliced",), lambda: (sliced_wasserstein(features, reference.features),)),
    ):
        try:
            found |= dict(zip(names, compute(), strict=True))
        except (ValueError, RuntimeError, ArithmeticError) as error:
            found |= dict.fromkeys(names, str(error))
    return found


def judge(
    stack: Stack,
    train: DataSource,
    test: DataSource,
    extractors: Mapping[str, Extractor | FileFeatures | OwaeError],
    *,
    number: int | None = None,
    seeds: int = 3,
    drawn: Draws | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Judges a stack's samples by every extractor; what cannot be had is said in its place.

    Args:
        stack: The stack.
        train: Training examples, for the floor.
        test: Held-out examples, 5,000 at most, evenly spread.
        extractors: By the text that asked for them; an error stands for one that cannot be had.
        number: Samples a seed; as many as held-out or training examples, and 5,000 at most, unless given.
        seeds: Sampling seeds.
        drawn: Samples that are drawn once and looked at elsewhere too.
        seed: The first of them.

    Returns:
        Plain values: the protocol, then by extractor each metric's `Number`, how pictures look, shares of classes, and warnings.
    """
    held = evenly(len(test), MOST)
    n = number or min(len(held), len(train), MOST)
    floor_rows = evenly(len(train), n)
    usable = {name: each for name, each in extractors.items() if not isinstance(each, OwaeError)}
    networks = {name: each for name, each in usable.items() if isinstance(each, Extractor)}
    references: dict[str, Reference] = {}
    for name, each in networks.items():
        try:
            references[name] = Reference(features_of(each, read_blocks(test, held)))
        except (ValueError, RuntimeError, ArithmeticError) as error:  # its own column, not that of the others
            extractors = {**extractors, name: OwaeError(f"the features of held-out examples cannot be had: {error}")}
    networks = {name: networks[name] for name in references}
    taken = _Taken(test, networks, references)
    for k in range(seeds):
        known = drawn is not None and drawn.seed == seed + k
        taken.take(drawn.first(n) if drawn is not None and known else draw_samples(stack, n, seed + k).cpu())
    found: dict[str, Any] = {}
    warnings: list[str] = []
    for text, each in extractors.items():
        if isinstance(each, OwaeError):
            found[text] = {"why": str(each)}
            warnings.append(f"{text}: {each}")
            continue
        if isinstance(each, FileFeatures):
            reference, floor, count = Reference(each.held_out), each.train, len(each.samples)
            rows = [measure(each.samples, reference)]
        else:
            reference, rows, count = references[text], taken.rows[text], n
            floor = features_of(each, read_blocks(train, floor_rows)) if len(floor_rows) else None
        floors = {} if floor is None else measure(floor, reference)
        d = reference.features.shape[1]
        found[text] = {
            "title": each.title,
            "dimension": d,
            "n": count,
            "held_out": len(reference.features),
            **each.describe(),
            **({"accuracy": each.accuracy(reference.features, test, held)} if isinstance(each, Trained) else {}),
            **{metric: json_ready(vars(_number([row[metric] for row in rows], floors.get(metric)))) for metric in METRICS},
        }
        fewest = min(count, len(reference.features))
        if fewest <= d and found[text]["frechet"]["value"] is not None:
            warnings.append(
                f"{text}: {counted(fewest, 'example')} for {d} features leave the covariance singular; "
                "trust KID before the Fréchet distance"
            )
    warnings += taken.disagreement()
    return {
        "n": n,
        "seeds": list(range(seed, seed + seeds)),
        "held_out": len(held),
        "split": "test",
        "protocol": PROTOCOL,
        "extractors": found,
        "look": taken.look(),
        "sharpened": taken.sharpened,
        "classes": taken.classes(),
        "warnings": warnings,
    }


class _Taken:
    """What is kept of the samples of several seeds: numbers, not pictures."""

    def __init__(self, test: DataSource, networks: Mapping[str, Extractor], references: Mapping[str, Reference]) -> None:
        self._test, self._networks, self._references = test, networks, references
        self.rows: dict[str, list[dict[str, float | str]]] = {name: [] for name in networks}
        self.sharpened: dict[str, Any] | None = None
        self._looks: list[dict[str, float]] = []
        self._picture = is_picture(tuple(test.shape))
        data = torch.cat(list(read_blocks(test, evenly(len(test), 2000))))
        self._data_look = self._look(data)
        self._counts: Tensor | None = None

    def take(self, drawn: Tensor) -> None:
        """Measures the samples of a seed."""
        samples = unit_scale(drawn, self._test.value_range)
        for name, network in self._networks.items():
            features = features_of(network, [samples])
            self.rows[name].append(measure(features, self._references[name]))
            if isinstance(network, Trained):
                counts = network.probabilities(features).argmax(1).bincount(minlength=network.classes)
                self._counts = counts if self._counts is None else self._counts + counts
        self._looks.append(self._look(samples))
        rough = "roughness" in self._looks[-1].keys() & self._data_look.keys()
        if self.sharpened is None and rough and samples.min() >= 0 and samples.max() <= 1:
            self._sharpen(samples)

    def _look(self, x: Tensor) -> dict[str, float]:
        if not self._picture:
            return {}
        return {"contrast": look.contrast(x)} | ({"roughness": look.roughness(x)} if x.var() > 0 else {})

    def look(self) -> dict[str, dict[str, float | str | None]]:
        """Returns contrast and roughness of samples, mean over seeds, beside the data's; None and why where they have none."""
        found: dict[str, Any] = {}
        for key in ("contrast", "roughness"):
            known = [each[key] for each in self._looks if key in each]
            if key in self._data_look and len(known) == len(self._looks):
                found[key] = {"samples": statistics.fmean(known), "data": self._data_look[key]}
                continue
            alike = "the values of all samples, or of all held-out examples, are alike"
            why = alike if self._picture else f"the data have shape {tuple(self._test.shape)} and are no pictures"
            found[key] = {"samples": None, "data": None, "why": why}
        return json_ready(found)

    def _sharpen(self, samples: Tensor) -> None:
        """Measures the first seed's samples once more with the gain on their logits that makes them as rough as the data."""
        gain = look.matching_gain(samples, self._data_look["roughness"])
        sharper = look.with_gain(samples, gain)
        distances: dict[str, Any] = {}
        for name, network in self._networks.items():
            before = self.rows[name][0]["frechet"]
            try:
                after = frechet(features_of(network, [sharper]), self._references[name].moments())
            except (ValueError, RuntimeError, ArithmeticError):
                continue
            if isinstance(before, float):
                distances[name] = {"before": before, "after": after}
        self.sharpened = json_ready({"gain": gain, "frechet": distances})

    def disagreement(self) -> list[str]:
        """Says where extractors rank samples and the same samples sharpened differently, or far apart."""
        distances = {} if self.sharpened is None else self.sharpened["frechet"]
        ratios = {name: each["after"] / each["before"] for name, each in distances.items() if each["before"] and each["before"] > 0}
        if len(ratios) < 2:
            return []
        low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
        opposed = ratios[low] < 0.9 and ratios[high] > 1.1
        if not opposed and ratios[high] < _DIFFERENT * ratios[low]:
            return []
        assert self.sharpened is not None
        word = "disagree in rank" if opposed else "disagree"
        shown = ", ".join(f"{name} from {distances[name]['before']:.3g} to {distances[name]['after']:.3g}" for name in (low, high))
        return [
            f"extractors {word}: a gain of {self.sharpened['gain']:.2g} on the logits of the samples' pixels alone, which makes them as "
            f"rough as the data, takes the Fréchet distance by {shown}; trust no single one of them"
        ]

    def classes(self) -> dict[str, Any] | None:
        """Returns the share of samples that the classifier takes for each class, by the classes' names, beside the data's shares."""
        if self._counts is None or self._test.labels is None:
            return None
        labels = self._test.labels
        data = labels[labels >= 0].to("cpu", torch.long).bincount(minlength=len(self._counts))
        names = class_names(self._test, len(self._counts))
        return {
            name: {"samples": float(self._counts[i]) / float(self._counts.sum()), "data": float(data[i]) / max(1, int(data.sum()))}
            for i, name in enumerate(names)
        }


def class_names(source: DataSource, count: int) -> list[str]:
    """Returns what the classes are called; their numbers where they have no names."""
    known = source.class_names or ()
    return [known[i] if i < len(known) else str(i) for i in range(count)]


def _number(values: Sequence[float | str], floor: float | str | None) -> Number:
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return Number(None, why=next(value for value in values if isinstance(value, str)))
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Number(statistics.fmean(numbers), deviation, None if isinstance(floor, str) else floor)
