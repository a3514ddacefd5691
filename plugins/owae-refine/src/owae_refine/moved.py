"""Images moved a little: turned, scaled, sheared and shifted at random, with the detail and contrast that interpolation takes put back."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from owae.data.sources import as_floats
from owae.interfaces import DataSource

TURN, SCALE, SHEAR, SHIFT = math.radians(8), 0.08, 0.1, 0.04  # at most; a shift is a share of half the image's side
ROUNDS = 4  # of sharpening, since cutting off at the ends of the range takes part of it again


class Moved(DataSource):
    """A source of images (C, H, W) of which a share is moved a little each time it is read, as its seed says.

    Args:
        source: Where the images come from.
        share: How many of the examples are moved, from 0 to 1.
    """

    name = "moved"

    def __init__(self, source: DataSource, share: float, /) -> None:
        self.source, self.share = source, share
        self.shape, self.value_range = tuple(source.shape), source.value_range
        self.labels, self.class_names = source.labels, source.class_names

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor:
        return self.batch(torch.tensor([index]))[0]

    def batch(self, indices: Tensor) -> Tensor:
        x = as_floats(self.source.batch(indices), self.value_range)
        return torch.where(torch.rand(len(x), 1, 1, 1) < self.share, moved(x, self.value_range), x)

    def fingerprint(self) -> str:
        return self.source.fingerprint()


def moved(x: Float[Tensor, "B C H W"], value_range: tuple[float, float] = (0.0, 1.0)) -> Float[Tensor, "B C H W"]:
    """Moves images, each by a map of its own, by bicubic interpolation, and puts back the detail and the contrast that this takes.

    An image's variance over pixels, and the mean square of its steps between neighbours relative to it, are nearly what they were: a
    decoder that learns from moved images would learn the blur of interpolation too. Beyond the edges an image goes on as its edge is.

    Args:
        x: The images.
        value_range: Lowest and highest value that an image may hold; values beyond are cut off.
    """
    turn, scale, shear, right, down = (torch.rand(5, len(x)) * 2 - 1) * torch.tensor([TURN, SCALE, SHEAR, SHIFT, SHIFT])[:, None]
    cosine, sine, scale = turn.cos(), turn.sin(), scale.exp()
    maps = torch.stack([cosine, shear - sine, right, sine, cosine, down], 1).unflatten(1, (2, 3))
    maps[:, :, :2] *= scale[:, None, None]
    grid = F.affine_grid(maps, list(x.shape), align_corners=False).to(x)
    result = F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
    for _ in range(ROUNDS):
        result = _with_contrast(_as_rough(result, x), x).clamp(*value_range)
    return result


def _with_contrast(y: Float[Tensor, "B C H W"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Returns images y with the variances over pixels of x, or at most twice their own deviations."""
    gain = (_covariance(x, x) / _covariance(y, y).clamp(min=1e-12)).clamp(0, 4).sqrt()[:, None, None, None]
    mean = y.mean((1, 2, 3), keepdim=True)
    return mean + gain * (y - mean)


def _as_rough(y: Float[Tensor, "B C H W"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Returns `y + a (y − blur(y))` with the smallest a ≥ 0 at which each image has the roughness of x, if there is one up to 3."""
    detail = y - F.avg_pool2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    wanted = _steps(x, x) / _covariance(x, x).clamp(min=1e-12)
    # The roughness of the sum is that of x where a quadratic polynomial in a is 0.
    square, linear, constant = (_steps(*pair) - wanted * _covariance(*pair) for pair in ((detail, detail), (y, detail), (y, y)))
    root = (linear.square() - square * constant).clamp(min=0).sqrt()
    amount = -constant / (linear + root).clamp(min=1e-12)
    return y + amount.clamp(0, 3)[:, None, None, None] * detail


def _steps(x: Float[Tensor, "B C H W"], y: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """The mean product of steps between neighbours, of both directions."""
    down, right = ((x.diff(dim=dim) * y.diff(dim=dim)).mean((1, 2, 3)) for dim in (2, 3))
    return (down + right) / 2


def _covariance(x: Float[Tensor, "B C H W"], y: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """The covariance of the pixels of two images."""
    return (x * y).mean((1, 2, 3)) - x.mean((1, 2, 3)) * y.mean((1, 2, 3))
