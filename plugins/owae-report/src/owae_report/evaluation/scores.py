"""Measures a trained stack on held-out data, level by level.

Squared error tells what a level's code keeps of the data; nearest-neighbour accuracy, what it keeps of labels never trained on;
spread and encoder variance, whether the level is alive (a spread near 0 is a dead level, a variance near 0 a deterministic
encoder). The divergence at the matched level tells whether draws of the prior land where codes lie, which good samples need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from owae.data.sources import examples
from owae.errors import DataError, TrainingError
from owae.files import json_ready
from owae.interfaces import DataSource, Prior, Shape
from owae.model.inference import evaluating
from owae.model.noise_floor import noise_floor
from owae.model.stack import Stack
from owae.tensor_checks import full_precision
from owae_report.evaluation.neighbours import Neighbours
from owae_report.room import require_room

# A dense divergence takes time and memory in n².
MOST_MATCHED = 2000
DRAWN_AT_ONCE = 50


@dataclass(frozen=True)
class LevelScores:
    """One level on the test set.

    Attributes:
        level: i, counted from 1.
        shape: The shape of z_i.
        error: `E ‖x − R_i(x)‖²`, summed over the event, where `R_i` encodes up to z_i and decodes from it by means.
        accuracy: The share of examples whose nearest neighbours in z_i among the training set, by encoder means, vote for their
            label, among those that have one; None without labels.
        spread: Standard deviation of draws of z_i over the set, mean over its coordinates; NaN of a single example.
        variance: Variance of `q(z_i | z_{i−1})`, mean over coordinates and set.
    """

    level: int
    shape: Shape
    error: float
    accuracy: float | None
    spread: float
    variance: float


@dataclass(frozen=True)
class Matching:
    """The divergence at the matched level.

    Attributes:
        level: The level whose aggregated posterior is compared with its prior.
        n: Encoder draws of held-out examples that were compared.
        value: `D(Q, P)` by those draws.
        floor: What the divergence gives for as many draws of the prior itself, mean; None where it was not measured.
        floor_deviation: Its standard deviation.
        description: The divergence's own account of itself.
        prior: The name of the prior.
    """

    level: int
    n: int
    value: float
    floor: float | None
    floor_deviation: float | None
    description: dict[str, Any]
    prior: str


@dataclass(frozen=True)
class Evaluation:
    """A stack measured on held-out data.

    Attributes:
        levels: Bottom first.
        matching: The divergence from the prior that samples are drawn from, or None where there are fewer than two test examples.
        matching_trained: That from the prior which the encoders were trained to match, where a later phase has fitted another; else None.
        train: Training examples that the neighbours were taken from.
        test: Held-out examples that everything is a mean over.
        neighbours: Neighbours that voted.
        stacked: The level that stacking stopped at. Encoders above it had no part in the objective.
    """

    levels: tuple[LevelScores, ...]
    matching: Matching | None
    matching_trained: Matching | None
    train: int
    test: int
    neighbours: int
    stacked: int

    def rows(self) -> list[dict[str, Any]]:
        """Returns the levels as plain dictionaries, bottom first."""
        return [json_ready(asdict(level)) for level in self.levels]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, fit for JSON; a number that is not finite is None."""
        return json_ready(asdict(self))


def evaluate(
    stack: Stack,
    train: DataSource,
    test: DataSource,
    *,
    batch_size: int = 1000,
    neighbours: int = 10,
    seed: int = 0,
    tolerate: Callable[[str], None] | None = None,
    matched: Prior | None = None,
) -> Evaluation:
    """Measures every level of a stack on held-out data, in evaluation mode; the stack and torch's generators stay as they were.

    Args:
        stack: A trained stack.
        train: Where nearest neighbours are taken from; read only if both sets have labels.
        test: What everything else is measured on. The divergence takes 2,000 at most, spread over the set.
        batch_size: Examples encoded at once; changes no number.
        neighbours: Neighbours that vote, at least 1.
        seed: Decides the encoders' and the prior's draws.
        tolerate: Takes the reason why the divergence could not be computed, where that is not to cost the rest.
        matched: The prior that the encoders were trained to match, where it is not the stack's.

    Raises:
        DataError: The test set is empty.
        TrainingError: The divergence cannot compare the codes: they are not finite or too large.
    """
    if not len(test):
        raise DataError("the test set is empty; at least one example is needed to evaluate on")
    if batch_size < 1 or neighbours < 1:
        raise ValueError(f"batch_size is {batch_size}, neighbours {neighbours}; both start at 1")
    with evaluating(stack, seed) as device:
        errors, means = _by_means(stack, test, batch_size, device)
        accuracies = _accuracies(stack, means, train, test, batch_size, neighbours, device)
        spreads, variances, drawn = _by_draws(stack, test, device)
        priors = (stack.matched_prior, None if matched is None else matched.to(device))
        matching, trained = (None if prior is None else _matching(stack, prior, drawn, tolerate) for prior in priors)
    shapes = [tuple(layer.latent_shape) for layer in stack.layers]
    levels = map(LevelScores, range(1, stack.depth + 1), shapes, errors, accuracies, spreads, variances)
    return Evaluation(tuple(levels), matching, trained, len(train), len(test), min(neighbours, len(train)), stack.matched_level)


def _by_means(stack: Stack, test: DataSource, batch_size: int, device: torch.device) -> tuple[list[float], list[Tensor]]:
    """Computes squared errors through every level, and the codes if there are labels to classify them by."""
    sums = [0.0] * stack.depth
    codes: list[list[Tensor]] = [[] for _ in range(stack.depth)]
    for indices in torch.arange(len(test)).split(batch_size):
        x = examples(test, indices, device)
        for i, z in enumerate(stack.encode(x)):
            sums[i] += (x - stack.decode(z, i + 1)).square().sum().item()
            if test.labels is not None:
                codes[i].append(z)
    return [total / len(test) for total in sums], [torch.cat(parts) for parts in codes if parts]


def _accuracies(
    stack: Stack, means: list[Tensor], train: DataSource, test: DataSource, batch_size: int, k: int, device: torch.device
) -> list[float | None]:
    """Examples without a label (below 0) neither vote nor count."""
    if train.labels is None or test.labels is None:
        return [None] * stack.depth
    voters, known = (train.labels >= 0).nonzero()[:, 0].cpu(), (test.labels >= 0).to(device)
    if not len(voters) or not known.any():
        return [None] * stack.depth
    k = min(k, len(voters))
    require_room(stack.depth * int(known.sum()) * k, (), f"{k:,} neighbours of every held-out example in {stack.depth} levels")
    found = [Neighbours(codes[known], k) for codes in means]
    for indices in voters.split(batch_size):
        for neighbours, codes in zip(found, stack.encode(examples(train, indices, device)), strict=True):
            neighbours.add(codes, train.labels[indices])
    truth = test.labels.to(device)[known]
    return [(neighbours.vote() == truth).sum().item() / len(truth) for neighbours in found]


def _by_draws(stack: Stack, test: DataSource, device: torch.device) -> tuple[list[float], list[float], Tensor]:
    """Computes spread and encoder variance of every level, and draws at the matched one for the divergence.

    In blocks of one size, whatever the others are computed in: another size would take the generator's numbers in another order.
    """
    chosen = torch.zeros(len(test), dtype=torch.bool)
    chosen[torch.linspace(0, len(test) - 1, min(len(test), MOST_MATCHED)).round().long()] = True
    moments = [_Moments() for _ in stack.layers]
    variances = [0.0] * stack.depth
    matched: list[Tensor] = []
    for indices in torch.arange(len(test)).split(DRAWN_AT_ONCE):
        z = examples(test, indices, device)
        for i, layer in enumerate(stack.layers):
            q = layer.encode(z)
            z = q.rsample()
            moments[i].add(z)
            variances[i] += q.variance.flatten(1).mean(1).sum().item() / len(test)
            if i + 1 == stack.matched_level:
                matched.append(z[chosen[indices].to(device)])
    return [moment.deviation() for moment in moments], variances, torch.cat(matched)


class _Moments:
    """Accumulates standard deviations over a stream of rows by Chan's update, which keeps small spreads far from 0."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, rows: Tensor) -> None:
        n, mean = len(rows), rows.mean(0)
        apart = mean - self.mean
        self.squares = self.squares + (rows - mean).square().sum(0) + apart.square() * (self.count * n / (self.count + n))
        self.mean = self.mean + apart * (n / (self.count + n))
        self.count += n

    def deviation(self) -> float:
        """Returns the mean over the coordinates; NaN of a single row, which cannot vary."""
        if self.count < 2:
            return float("nan")
        return (torch.as_tensor(self.squares) / self.count).sqrt().mean().item()


def _matching(stack: Stack, prior: Prior, codes: Tensor, tolerate: Callable[[str], None] | None) -> Matching | None:
    if len(codes) < 2:
        if tolerate is not None:
            tolerate(f"divergence from the prior, {prior.name}: found 1 held-out example; at least 2 are needed")
        return None
    try:
        return _match(stack, prior, codes)
    except TrainingError as error:
        if tolerate is None:
            raise
        tolerate(f"the divergence: {error}")
        return None


def _match(stack: Stack, prior: Prior, codes: Tensor) -> Matching:
    try:
        with full_precision(codes.device):
            value = stack.divergence.to_prior(codes, prior).item()
        floor = noise_floor(stack.divergence, prior, len(codes), repeats=16)
    except ValueError as error:
        raise TrainingError(f"the codes z_{stack.matched_level} cannot be compared with their prior: {error}") from error
    described = stack.divergence.describe(tuple(prior.shape))
    return Matching(stack.matched_level, len(codes), value, floor.mean, floor.deviation, described, prior.name)
