"""Compares samples with their nearest training examples: whether a model repeats what it was trained on.

A diagnostic, not a proof: a model can copy what these distances do not see, and samples of few modes lie near training examples without
being copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from owae_report.evaluation.distances import nearest

MOST = 1000  # samples and held-out examples
MOST_TRAIN = 100_000
# Of each, from which the Mann–Whitney statistic is about normal (Mann and Whitney 1947); of three, no z-score is below −1.97.
FEWEST = 8


@dataclass(frozen=True)
class Generalisation:
    """Nearest training examples of samples against those of held-out examples, by Euclidean distance of pixels.

    Attributes:
        samples: Median distance of samples from the nearest training example.
        held_out: That of held-out examples.
        ratio: The first over the second; well below 1: samples lie nearer to training examples than fresh examples do.
        authenticity: The share of samples that lie farther from their nearest training example than that one lies from its own (Alaa et
            al. 2022).
        authenticity_held_out: That of held-out examples, which copy nothing.
        copying: C_T of one cell: the z-score of the Mann–Whitney statistic of the two sets of distances (Meehan et al. 2020); far below 0
            samples lie too near, far above 0 too far. None of fewer than `FEWEST`, or where all distances are equal.
        n: Samples.
        train: Training examples that were looked through.
        pairs: Of the samples nearest to a training example, the nearest first: (sample, training example, distance).
        pairs_held_out: Of the held-out examples nearest to one: (held-out example, training example, distance).
    """

    samples: float
    held_out: float
    ratio: float | None
    authenticity: float
    authenticity_held_out: float
    copying: float | None
    n: int
    train: int
    pairs: tuple[tuple[int, int, float], ...]
    pairs_held_out: tuple[tuple[int, int, float], ...]


def generalise(
    samples: Float[Tensor, "n d"],
    held_out: Float[Tensor, "m d"],
    train: Float[Tensor, "k d"],
    rows: Int[Tensor, " k"],
    held_out_rows: Int[Tensor, " m"],
    pairs: int = 16,
) -> Generalisation:
    """Measures features of samples, held-out and training examples.

    Args:
        samples: Of samples.
        held_out: Of held-out examples.
        train: Of training examples, at least two.
        rows: The training examples' places in their source, for `pairs`.
        held_out_rows: The held-out examples' places in theirs.
        pairs: How many nearest pairs to name.
    """
    if len(train) < 2:
        raise ValueError(f"found {len(train)} training example(s); at least 2 are needed")
    ours, ours_at = (each[:, 0] for each in nearest(samples, train))
    theirs, theirs_at = (each[:, 0] for each in nearest(held_out, train))
    median, median_held = float(ours.median()), float(theirs.median())
    return Generalisation(
        samples=median,
        held_out=median_held,
        ratio=median / median_held if median_held > 0 else None,
        authenticity=_authenticity(ours, ours_at, train),
        authenticity_held_out=_authenticity(theirs, theirs_at, train),
        copying=mann_whitney(ours, theirs),
        n=len(samples),
        train=len(train),
        pairs=tuple((int(i), int(rows[ours_at[i]]), float(ours[i])) for i in ours.argsort()[:pairs]),
        pairs_held_out=tuple((int(held_out_rows[i]), int(rows[theirs_at[i]]), float(theirs[i])) for i in theirs.argsort()[:pairs]),
    )


def _authenticity(distances: Tensor, places: Tensor, train: Tensor) -> float:
    chosen, back = places.unique(return_inverse=True)
    own = nearest(train[chosen], train, 2)[0][:, 1]  # the first is the example itself
    return float((distances > own[back]).float().mean())


def mann_whitney(x: Float[Tensor, " n"], y: Float[Tensor, " m"]) -> float | None:
    """Returns the z-score of how often `x` exceeds `y`, ties counted half and their variance corrected.

    None of fewer than `FEWEST`, or where all are equal.
    """
    n, m = len(x), len(y)
    if min(n, m) < FEWEST:
        return None
    both = torch.cat([x, y]).double()
    ordered, inverse, counts = both.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts - 1) / 2)[inverse]
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    ties = float((counts.double() ** 3 - counts).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    return (u - n * m / 2) / math.sqrt(variance) if len(ordered) > 1 and variance > 0 else None
