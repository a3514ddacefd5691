"""Pictures of a few kinds, as labelled data."""

from __future__ import annotations

import torch

from owae.data.sources import TensorSource


def blobs(n: int, seed: int, classes: int = 3, span: tuple[float, float] = (0.0, 1.0)) -> TensorSource:
    """Pictures of as many kinds as there are classes, a little noisy."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    kinds = torch.rand(classes, 1, 8, 8, generator=torch.Generator().manual_seed(99))
    x = (kinds[labels] + 0.1 * torch.randn(n, 1, 8, 8, generator=generator)).clamp(0, 1)
    low, high = span
    source = TensorSource(x * (high - low) + low, labels, span)
    source.class_names = tuple("abc"[:classes])
    return source
