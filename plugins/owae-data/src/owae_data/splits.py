"""Holds examples out for testing, where the data do not say so themselves."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from owae.errors import DataError


def hold_out(count: int, fraction: float, labels: Int[Tensor, " N"] | None = None) -> dict[str, Int[Tensor, " _"]]:
    """Splits rows into those to train and those to test on: every so many-th example of each class is for testing.

    Nothing is drawn, so the split is the same everywhere and for ever. Examples are put in order of their class first: data that
    go round the classes in turn would otherwise have only some of them tested.

    Args:
        count: The number of examples.
        fraction: The share to hold out, rounded to at least one example and at most all but one.
        labels: One class per example.

    Raises:
        DataError: There are fewer than two examples.

    >>> hold_out(10, 0.2)["test"]
    tensor([2, 7])
    >>> hold_out(6, 0.4, torch.tensor([0, 1, 0, 1, 0, 1]))["test"]
    tensor([2, 3])
    """
    if count < 2:
        raise DataError(f"found {count} example(s), but one must be held out for testing and one left to train on")
    tests = min(max(round(count * fraction), 1), count - 1)
    order = torch.arange(count) if labels is None else torch.argsort(labels, stable=True)
    middles = (2 * torch.arange(tests) + 1) * count // (2 * tests)  # of as many equal stretches: at least one apart
    is_test = torch.zeros(count, dtype=torch.bool)
    is_test[order[middles]] = True
    return {"train": (~is_test).nonzero()[:, 0], "test": is_test.nonzero()[:, 0]}
