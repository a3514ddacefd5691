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

from owae_report.words import counted

_BLOCK = 500  # rows compared with all others at once
SUBSET = 1000  # the usual size of a subset for KID
PROJECTIONS = 256
_PRECISION_K, _DENSITY_K = 3, 5


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
        raise ValueError(f"found {counted(len(values), 'feature vector')}; a covariance needs at least 2")
    mean = values.mean(0)
    centred = values - mean
    return mean, centred.T @ centred / (len(values) - 1)


def kernel_distance(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], subset: int = SUBSET, subsets: int = 10, seed: int = 0
) -> float:
    """Computes KID: the unbiased squared MMD by the kernel `(a·b/d + 1)³`, mean over random subsets (Bińkowski et al. 2018).

    Where neither set exceeds `subset`, of the whole sets, the larger cut to the smaller. Unbiased at any n, so negative for some of all
    perfect matches.
    """
    size = min(subset, len(x), len(y))
    if size < 2:
        raise ValueError(f"found {counted(len(x), 'feature vector')} against {len(y)}; KID needs at least 2 of each")
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
    """A set of feature vectors with the distances of each to its 3rd and 5th nearest other.

    Args:
        features: (n, d) with n at least 6.
    """

    def __init__(self, features: Float[Tensor, "n d"]) -> None:
        if len(features) <= _DENSITY_K:
            raise ValueError(
                f"found {counted(len(features), 'feature vector')}; the {_DENSITY_K}th nearest other needs more than {_DENSITY_K}"
            )
        self.features = features.float()
        apart = nearest(self.features, self.features, _DENSITY_K + 1)[0]  # the first neighbour is the vector itself
        self.near, self.far = apart[:, _PRECISION_K], apart[:, _DENSITY_K]


def neighbourhoods(x: Float[Tensor, "n d"], held_out: Manifold) -> dict[str, float]:
    """Computes by nearest neighbours, in one pass over the distances, how samples and held-out examples lie among each other.

    Returns:
        `precision` and `recall`, the share of samples in the balls of held-out examples and the reverse, k = 3 (Kynkäänniemi et al. 2019);
        `density`, which can exceed 1, and `coverage`, k = 5 (Naeem et al. 2020).
    """
    own = Manifold(x)
    m = len(held_out.features)
    precise, balls = 0, 0
    recalled, covered = torch.zeros(m, dtype=torch.bool), torch.zeros(m, dtype=torch.bool)
    centre = held_out.features.mean(0)
    others = held_out.features - centre
    for rows, radii in zip((own.features - centre).split(_BLOCK), own.near.split(_BLOCK), strict=True):
        apart = torch.cdist(rows, others)
        precise += int((apart <= held_out.near).any(1).sum())
        recalled |= (apart <= radii[:, None]).any(0)
        inside = apart <= held_out.far
        balls += int(inside.sum())
        covered |= inside.any(0)
    return {
        "precision": precise / len(x),
        "recall": float(recalled.float().mean()),
        "density": balls / (_DENSITY_K * len(x)),
        "coverage": float(covered.float().mean()),
    }


def nearest(x: Float[Tensor, "n d"], among: Float[Tensor, "m d"], k: int = 1) -> tuple[Tensor, Tensor]:
    """Finds the k nearest of `among` to every row of `x` by Euclidean distance: distances and places, (n, k) each, nearest first."""
    centre = among.mean(0)  # far from the origin, distances by products have few digits
    among = among - centre
    found: list[Any] = [torch.cdist(block - centre, among).topk(k, largest=False) for block in x.split(_BLOCK)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
