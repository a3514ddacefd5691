"""An affine map that standardises events by statistics measured once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from owae.interfaces import DataSource, LatentLayer

SMALLEST = 1e-5  # of the largest variance: directions with less are taken to have that, so that no noise is blown up
ROWS, NUMBERS = 10_000, 2**26  # that statistics are measured on, at most


def rows_to_measure(data: DataSource, layers: Iterable[LatentLayer]) -> Sequence[Tensor]:
    """Returns indices of at most 10,000 examples, spread over the data, in batches; fewer where a layer's events are large."""
    largest = max(math.prod(layer.in_shape) for layer in layers)
    count = min(len(data), ROWS, max(1, NUMBERS // largest))
    return torch.linspace(0, len(data) - 1, count).round().long().split(256)


class Whitening(nn.Module):
    """Maps events (B, C, …) so that their channels, over rows and pixels, have mean 0 and variance 1; before `fit`, to themselves.

    Args:
        channels: C, the size of an event's first axis.
        decorrelate: Whether the channels are also rotated to be uncorrelated.
    """

    mean: Tensor
    scale: Tensor
    rotation: Tensor | None

    def __init__(self, channels: int, *, decorrelate: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("rotation", torch.eye(channels) if decorrelate else None)

    @torch.no_grad()
    def fit(self, events: Float[Tensor, "n C *rest"]) -> None:
        """Measures the statistics."""
        rows = events.movedim(1, -1).flatten(0, -2).double()
        self.mean.copy_(rows.mean(0))
        if self.rotation is None:
            variance = rows.var(0, correction=0)
        else:
            covariance = torch.atleast_2d(torch.cov(rows.T, correction=0))
            # Of few rows the covariance has directions without any variance; part of its diagonal gives them the channels' own.
            share = len(covariance) / (len(covariance) + len(rows))
            covariance = torch.lerp(covariance, covariance.diagonal().diag(), share)
            variance, rotation = torch.linalg.eigh(covariance)
            self.rotation.copy_(rotation)
        largest = variance.max()
        self.scale.copy_(torch.where(largest > 0, variance.clamp(min=SMALLEST * largest), 1.0).sqrt())

    def forward(self, events: Float[Tensor, "B C *rest"]) -> Float[Tensor, "B C *rest"]:
        last = events.ndim - 1  # counted from the front: in ONNX a place from the back stays negative
        x = events.movedim(1, last) - self.mean
        x = x if self.rotation is None else x @ self.rotation
        return (x / self.scale).movedim(last, 1)

    def inverse(self, events: Float[Tensor, "B C *rest"]) -> Float[Tensor, "B C *rest"]:
        """Maps standardised events back."""
        last = events.ndim - 1
        x = events.movedim(1, last) * self.scale
        x = x if self.rotation is None else x @ self.rotation.T
        return (x + self.mean).movedim(last, 1)
