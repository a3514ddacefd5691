"""Compares two sets of feature vectors: the numbers that samples are judged by.

Every function takes features (n, d) of samples and (m, d) of held-out examples and knows nothing of where they came from. Large sets
are compared in blocks, so memory grows with n + m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 1000  # rows compared with all others at once
SUBSET = 1000  # the usual size of a subset for KID
PROJECTIONS = 256


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set of features, and the covariance's square root.

    Attributes:
        mean: (d,), float64.
        covariance: Unbiased, (d, d).
        root: Its symmetric square root, which distances from the same reference share.
    """

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]
    root: Float[Tensor, "d d"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> Moments:
        """Measures at least two feature vectors."""
        mean, covariance = _moments(features)
        values, vectors = torch.linalg.eigh(covariance)
        return cls(mean, covariance, (vectors * values.clamp(min=0).sqrt()) @ vectors.T)


def frechet(features: Float[Tensor, "n d"], reference: Moments) -> float:
    """Computes `‖m − m'‖² + tr(C + C' − 2 (C C')^½)`, the Fréchet distance of Gaussians with these moments (Heusel et al. 2017).

    Biased upwards by an amount that falls with n and grows with d; at n ≤ d the covariance is singular and the number says little.
    """
    mean, covariance = _moments(features)
    # The eigenvalues of C C' are those of the symmetric C'^½ C C'^½, whose rounding is harmless.
    roots = torch.linalg.eigvalsh(reference.root @ covariance @ reference.root).clamp(min=0).sqrt().sum()
    traces = covariance.trace() + reference.covariance.trace()
    return float((mean - reference.mean).square().sum() + traces - 2 * roots)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    values = features.double()
    if len(values) < 2:
        raise ValueError(f"found {len(values)} feature vector(s); a covariance needs at least 2")
    mean = values.mean(0)
    centred = values - mean
    return mean, centred.T @ centred / (len(values) - 1)


def kernel_distance(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], subset: int = SUBSET, subsets: int = 20, seed: int = 0
) -> float:
    """Computes KID: the unbiased squared MMD by the kernel `(a·b/d + 1)³`, mean over random subsets (Bińkowski et al. 2018).

    Where neither set exceeds `subset`, of the whole sets, the larger cut to the smaller. Unbiased at any n, so negative for some of all
    perfect matches.
    """
    size = min(subset, len(x), len(y))
    if size < 2:
        raise ValueError(f"found {len(x)} and {len(y)} feature vectors; KID needs at least 2 of each")
    if len(x) == len(y) == size:
        return _polynomial_mmd(x.double(), y.double())
    rng = np.random.default_rng(seed)
    chosen = [(rng.permutation(len(x))[:size], rng.permutation(len(y))[:size]) for _ in range(subsets)]
    return float(np.mean([_polynomial_mmd(x[i].double(), y[j].double()) for i, j in chosen]))


def _polynomial_mmd(x: Tensor, y: Tensor) -> float:
    n, d = x.shape
    within = torch.zeros((), dtype=x.dtype)
    for each in (x, y):
        kernel = (each @ each.T / d + 1) ** 3
        within = within + (kernel.sum() - kernel.trace()) / (n * (n - 1))
    return float(within - 2 * ((x @ y.T / d + 1) ** 3).mean())


def sliced_wasserstein(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], projections: int = PROJECTIONS, seed: int = 0) -> float:
    """Computes the sliced 2-Wasserstein distance: the root of the mean of `W_2²` over random directions (Bonneel et al. 2015).

    Between sets of unequal size it compares quantiles at as many places as the smaller has points.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(x.shape[1], projections, generator=generator), dim=0)
    size = min(len(x), len(y))
    lines = []
    for each in (x, y):
        ordered = (each.float() @ directions).sort(0).values.double()
        places = (torch.arange(size) + 0.5) / size * len(each) - 0.5
        low = places.floor().long().clamp(min=0)
        high = (low + 1).clamp(max=len(each) - 1)
        lines.append(torch.lerp(ordered[low], ordered[high], (places - low).clamp(min=0).double()[:, None]))
    return math.sqrt(float((lines[0] - lines[1]).square().mean()))


class Manifold:
    """A set of feature vectors with the distance of each to its k-th nearest other, for precision, recall, density and coverage.

    Args:
        features: (n, d).
        k: Neighbours; n must exceed it.
    """

    def __init__(self, features: Float[Tensor, "n d"], k: int) -> None:
        if len(features) <= k:
            raise ValueError(f"found {len(features)} feature vectors; {k} neighbours need more than {k}")
        self.features, self.k = features.float(), k
        self.radii = nearest(self.features, self.features, k + 1)[0][:, k]  # the first neighbour is the vector itself

    def holds(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Counts, for every vector, in how many of the balls around this set's vectors it lies."""
        rows = [(_distances(block, self.features) <= self.radii).sum(1) for block in x.float().split(_BLOCK)]
        return torch.cat(rows).float()

    def covered(self, x: Float[Tensor, "n d"]) -> float:
        """Returns the share of this set's balls that hold at least one of the vectors."""
        return float((nearest(self.features, x.float(), 1)[0][:, 0] <= self.radii).float().mean())


def precision_recall(x: Float[Tensor, "n d"], held_out: Manifold) -> tuple[float, float]:
    """Computes the share of samples in the balls of held-out examples and the reverse (Kynkäänniemi et al. 2019), k that of `held_out`."""
    precision = float((held_out.holds(x) > 0).float().mean())
    recall = float((Manifold(x, held_out.k).holds(held_out.features) > 0).float().mean())
    return precision, recall


def density_coverage(x: Float[Tensor, "n d"], held_out: Manifold) -> tuple[float, float]:
    """Computes density, which can exceed 1, and coverage (Naeem et al. 2020), with k that of `held_out`."""
    return float(held_out.holds(x).mean()) / held_out.k, held_out.covered(x)


def nearest(x: Float[Tensor, "n d"], among: Float[Tensor, "m d"], k: int = 1) -> tuple[Tensor, Tensor]:
    """Finds the k nearest of `among` to every row of `x` by Euclidean distance: distances and places, (n, k) each, nearest first."""
    found: list[Any] = [_distances(block, among).topk(k, largest=False) for block in x.split(_BLOCK)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances, (n, m); of few coordinates or rows exactly, else by products about a common centre."""
    centre = y.mean(0)
    return torch.cdist(x - centre, y - centre)
