"""Structural dissimilarity: what windows of two pictures differ by in brightness, contrast and structure."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from owae.errors import ConfigError, InputError
from owae.interfaces import Cost


class Ssim(Cost):
    """`C·H·W · (1 − SSIM(x, y))`, with the mean structural similarity of Wang, Bovik, Sheikh and Simoncelli (2004).

    Windows are Gaussian and lie within the picture; of smaller pictures the largest odd window that fits is taken. Between 0, for equal
    pictures, and twice the number of values. The factor brings it to the scale of costs that sum over the event.

    Args:
        window: Side of the window in pixels, odd.
        sigma: Standard deviation of its weights in pixels.
        data_range: The distance between the highest and the lowest value that data can have: 1 for [0, 1], 2 for [−1, 1].
        k1, k2: The constants that keep quotients of small numbers steady, as shares of `data_range`.

    Errors: `InputError` for events that are not (C, H, W).
    """

    name = "ssim"

    def __init__(
        self,
        *,
        window: Annotated[int, Field(ge=1)] = 11,
        sigma: Annotated[float, Field(gt=0)] = 1.5,
        data_range: Annotated[float, Field(gt=0)] = 1.0,
        k1: Annotated[float, Field(gt=0)] = 0.01,
        k2: Annotated[float, Field(gt=0)] = 0.03,
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ConfigError(f"window is {window}; it takes an odd number of pixels, such as 7 or 11")
        if min(sigma, data_range, k1, k2) <= 0:
            raise ConfigError(f"sigma, data_range, k1 and k2 are {sigma}, {data_range}, {k1} and {k2}; all must be above 0")
        self.window, self.sigma = window, sigma
        self.c1, self.c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        if x.ndim != 4:
            raise InputError(f"the cost ssim found events of shape {tuple(x.shape[1:])}; it compares pictures (C, H, W)")
        weights = [self._weights(side, x) for side in x.shape[2:]]
        mean_x, mean_y = _smooth(x, weights), _smooth(y, weights)
        variance_x = _smooth(x.square(), weights) - mean_x.square()
        variance_y = _smooth(y.square(), weights) - mean_y.square()
        covariance = _smooth(x * y, weights) - mean_x * mean_y
        brightness = (2 * mean_x * mean_y + self.c1) / (mean_x.square() + mean_y.square() + self.c1)
        structure = (2 * covariance + self.c2) / (variance_x + variance_y + self.c2)
        return x[0].numel() * (1 - brightness * structure).flatten(1).mean(1)

    def _weights(self, side: int, like: Tensor) -> Tensor:
        size = min(self.window, side if side % 2 else side - 1) if side > 1 else 1
        at = torch.arange(size, device=like.device, dtype=like.dtype) - size // 2
        weights = (-at.square() / (2 * self.sigma**2)).exp()
        return weights / weights.sum()


def _smooth(x: Tensor, weights: list[Tensor]) -> Tensor:
    """Weighted means over all windows within each channel."""
    flat = x.reshape(-1, 1, *x.shape[2:])
    flat = F.conv2d(F.conv2d(flat, weights[0][None, None, :, None]), weights[1][None, None, None, :])
    return flat.reshape(*x.shape[:2], *flat.shape[2:])
