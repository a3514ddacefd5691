"""Codes of every level, and scores of how unlike the training data examples are, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from owae.data.sources import examples
from owae.errors import DataError
from owae.interfaces import DataSource
from owae.model.defaults import StandardNormal
from owae.model.inference import evaluating
from owae.model.stack import Stack

_PRIOR_DRAWS = 4096


def code_blocks(stack: Stack, source: DataSource, batch_size: int = 250) -> Iterator[dict[str, np.ndarray]]:
    """Encodes a source block by block: what `_known` says of examples, and of every level `z1_mean`, `z1_variance` and so on.

    Means are those of `Stack.encode`: each level encodes the mean of the one below.
    """
    for indices in torch.arange(len(source)).split(batch_size):
        with evaluating(stack) as device:
            z = examples(source, indices, device)
            _check(z, indices)
            block = _known(source, indices)
            for i, layer in enumerate(stack.layers, start=1):
                q = layer.encode(z)
                z = q.mean
                block |= {f"z{i}_mean": z.float().cpu().numpy(), f"z{i}_variance": q.variance.expand_as(z).float().cpu().numpy()}
        yield block


def _known(source: DataSource, indices: Tensor) -> dict[str, np.ndarray]:
    """Returns what is known of examples beside their numbers: `id`, `label` (−1: none) and, where classes have names, `class`."""
    numbers = labels(source, indices)
    names = {} if source.class_names is None else {"class": np.array([*source.class_names, ""], dtype=np.str_)[numbers]}
    return {"id": ids(source, indices), "label": numbers, **names}


def ids(source: DataSource, indices: Tensor) -> np.ndarray:
    """Returns what examples are known by: the names of their files, else their places."""
    names = getattr(source, "ids", None)
    if names is None:
        return indices.numpy()
    return np.array(names, dtype=np.str_)[indices.numpy()]


def labels(source: DataSource, indices: Tensor) -> np.ndarray:
    """Returns the examples' classes; −1 where they have none."""
    known = source.labels
    return np.full(len(indices), -1) if known is None else known.cpu().to(torch.int64)[indices].numpy()


def _check(x: Tensor, indices: Tensor) -> None:
    bad = ~x.flatten(1).isfinite().all(1)
    if bad.any():
        raise DataError(f"example {int(indices[bad.cpu()][0])} holds values that are not finite; leave it out or mend it")


@dataclass(frozen=True)
class Calibration:
    """Scores of held-out examples, to which others are compared, and how the distance from the prior is measured.

    Attributes:
        scores: (n, k) for the k scores: squared error through z_1 … z_N, distance of the top code from the prior.
        combined: The least p-value of each held-out example over its scores, (n,).
        centre: The prior's mean at the matched level.
        variance: The prior's variance.
    """

    scores: Float[np.ndarray, "n k"]
    combined: Float[np.ndarray, " n"]
    centre: Tensor
    variance: Tensor

    @classmethod
    def of(cls, stack: Stack, held_out: DataSource, batch_size: int = 250) -> Calibration:
        """Scores held-out examples, of which p-values resolve 1 / (n + 1)."""
        centre, variance = _prior_moments(stack)
        parts = [raw_scores(stack, held_out, i, centre, variance) for i in torch.arange(len(held_out)).split(batch_size)]
        scores = np.concatenate(parts)
        # Each held-out example among the others and itself, which is how a new one is ranked.
        least = np.stack([_upper_share(column, column) for column in scores.T], 1).min(1)
        return cls(scores, least, centre, variance)

    def p_values(self, scores: Float[np.ndarray, "m k"]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the share of held-out examples at least as unusual, (1 + count) / (n + 1): by each score (m, k), and by all (m,).

        By all means by the least of an example's p-values, ranked among those of held-out examples, so that it is a p-value itself.
        """
        n = len(self.scores)
        single = np.stack(
            [(1 + n * _upper_share(known, new)) / (n + 1) for known, new in zip(self.scores.T, scores.T, strict=True)], 1
        )
        least = np.stack([_upper_share(known, new) for known, new in zip(self.scores.T, scores.T, strict=True)], 1).min(1)
        below = np.searchsorted(np.sort(self.combined), least, side="right")
        return single, (1 + below) / (n + 1)


def _upper_share(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns, for each new number, the share of known ones that are at least as large."""
    return 1 - np.searchsorted(np.sort(known), new, side="left") / len(known)


def _prior_moments(stack: Stack) -> tuple[Tensor, Tensor]:
    prior = stack.matched_prior
    if isinstance(prior, StandardNormal):
        zeros = torch.zeros(tuple(prior.shape), device=stack.device)
        return zeros, zeros + 1
    with evaluating(stack):
        draws = prior.sample(_PRIOR_DRAWS).float()
    return draws.mean(0), draws.var(0).clamp(min=1e-12)


@torch.no_grad()
def raw_scores(stack: Stack, source: DataSource, indices: Tensor, centre: Tensor, variance: Tensor) -> Float[np.ndarray, "m k"]:
    """Computes squared errors through every level, and `Σ (z − m)² / v` of the matched level's code from the prior, the last column."""
    with evaluating(stack) as device:
        x = examples(source, indices, device)
        _check(x, indices)
        codes = stack.encode(x)
        errors = [(x - stack.decode(z, i)).square().flatten(1).sum(1) for i, z in enumerate(codes, start=1)]
        top = codes[stack.matched_level - 1]
        distance = ((top - centre).square() / variance).flatten(1).sum(1)
    return torch.stack([*errors, distance], 1).double().cpu().numpy()


def score_blocks(
    stack: Stack, source: DataSource, calibration: Calibration, batch_size: int = 250
) -> Iterator[dict[str, np.ndarray]]:
    """Scores a source block by block: `id`, `p`, then errors, the distance from the prior, and a p-value of each."""
    names = [*(f"error_z{i}" for i in range(1, stack.depth + 1)), "prior_distance"]
    for indices in torch.arange(len(source)).split(batch_size):
        scores = raw_scores(stack, source, indices, calibration.centre, calibration.variance)
        single, combined = calibration.p_values(scores)
        block = {**_known(source, indices), "p": combined}
        for i, name in enumerate(names):
            block |= {name: scores[:, i], f"p_{name}": single[:, i]}
        yield block
