"""Classifies codes by their nearest neighbours: how much of the labels a latent keeps, without a trained probe."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Up to this dimension differences are taken coordinate by coordinate; beyond, the faster ‖a‖² + ‖b‖² − 2ab has digits enough.
_DIRECT = 16
_CHUNK = 1000


class Neighbours:
    """Keeps the `k` nearest of a stream of labelled codes to each of some queries, by Euclidean distance.

    Codes come in batches and are not kept, so memory grows with the queries alone.

    Args:
        queries: Codes to classify, events of any shape.
        k: Neighbours that vote; all of them where the stream is shorter.
    """

    def __init__(self, queries: Float[Tensor, "m *z"], k: int) -> None:
        if k < 1:
            raise ValueError(f"k is {k}; at least one neighbour must vote")
        flat = queries.flatten(1)
        # The origin does not matter to a distance, but far from it float32 has few digits.
        self._centre = flat.mean(0)
        self._queries = flat - self._centre
        self._distances = flat.new_full((len(flat), k), torch.inf)
        self._labels = torch.zeros(len(flat), k, dtype=torch.long, device=flat.device)
        self._k = k
        self._seen = 0

    def add(self, codes: Float[Tensor, "b *z"], labels: Int[Tensor, " b"]) -> None:
        """Compares the queries with more labelled codes."""
        codes, labels = codes.flatten(1) - self._centre, labels.to(codes.device, torch.long)
        direct = self._queries.shape[1] <= _DIRECT
        mode = "donot_use_mm_for_euclid_dist" if direct else "use_mm_for_euclid_dist"
        self._seen += len(codes)
        for start in range(0, len(self._queries), _CHUNK):
            rows = slice(start, start + _CHUNK)
            near, which = torch.cdist(self._queries[rows], codes, compute_mode=mode).topk(min(self._k, len(codes)), largest=False)
            distances = torch.cat([self._distances[rows], near], dim=1)
            candidates = torch.cat([self._labels[rows], labels[which]], dim=1)
            self._distances[rows], kept = distances.topk(self._k, largest=False)
            self._labels[rows] = candidates.gather(1, kept)

    def vote(self) -> Int[Tensor, " m"]:
        """Returns the label that most neighbours of each query have, the smallest of several."""
        k = min(self._k, self._seen)
        if not k:
            raise ValueError("no labelled code has been added, so none can vote")
        # Places never filled hold the largest distance, and topk returns the nearest first.
        labels, places = self._labels[:, :k].unique(return_inverse=True)
        counts = torch.zeros(len(places), len(labels), dtype=torch.long, device=places.device)
        counts.scatter_add_(1, places, torch.ones_like(places))
        winners = counts == counts.amax(1, keepdim=True)
        return torch.where(winners, labels, torch.iinfo(torch.long).max).amin(1)


def votes(codes: Float[Tensor, "n *z"], labels: Int[Tensor, " n"], queries: Float[Tensor, "m *z"], k: int) -> Int[Tensor, " m"]:
    """Returns the label that most of the `k` nearest labelled codes of each query have."""
    found = Neighbours(queries, min(k, len(codes)))
    for part, own in zip(codes.split(_CHUNK), labels.split(_CHUNK), strict=True):
        found.add(part, own)
    return found.vote()
