"""Which examples to show: spread over the classes where there are labels, over the set where there are none."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def representative(n: int, length: int, labels: Int[Tensor, " N"] | None = None, seed: int = 0) -> Int[Tensor, " n"]:
    """The places of `n` of `length` examples, all different; of all, where there are fewer.

    With labels each class comes about equally often, and the classes in order; examples without one (below 0) come last, and only
    where the others do not suffice. Without labels one example is taken from each of `n` equal stretches of the set, which may be
    sorted by something. `seed` chooses among them.

    >>> representative(3, 6, torch.tensor([0, 0, 0, 0, 1, 2])).tolist()[1:]
    [4, 5]
    """
    n = min(n, length)
    generator = torch.Generator().manual_seed(seed)
    if labels is None or not (labels >= 0).any():
        edges = torch.arange(n + 1) * length // max(n, 1)
        width = edges.diff()
        return edges[:-1] + (torch.rand(n, generator=generator) * width).long().minimum(width - 1)
    order = torch.randperm(length, generator=generator)
    classes = labels.cpu().long()[order]
    classes = torch.where(classes < 0, torch.iinfo(torch.long).max, classes)
    by_class = classes.argsort(stable=True)
    _, counts = classes.unique(return_counts=True)
    place_in_class = torch.arange(length) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    # Round after round over the classes, in which each gives one example.
    rounds = torch.empty_like(place_in_class)
    rounds[by_class] = place_in_class
    rounds[classes == torch.iinfo(torch.long).max] = length
    taken = rounds.argsort(stable=True)[:n]
    return order[taken[classes[taken].argsort(stable=True)]]
