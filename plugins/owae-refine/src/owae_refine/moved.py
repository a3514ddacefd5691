"""Images moved a little: turned, scaled, sheared and shifted at random, with the contrast that interpolation takes put back."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from owae.data.sources import as_floats
from owae.interfaces import DataSource

TURN, SCALE, SHEAR, SHIFT = math.radians(8), 0.08, 0.1, 0.04  # at most; a shift is a share of half the image's side


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
        return torch.where(torch.rand(len(x), 1, 1, 1) < self.share, moved(x).clamp(*self.value_range), x)

    def fingerprint(self) -> str:
        return self.source.fingerprint()


def moved(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Moves images, each by a map of its own, by bicubic interpolation; an image's variance over pixels is what it was.

    Beyond the edges an image goes on as its edge is.
    """
    turn, scale, shear, right, down = (torch.rand(5, len(x)) * 2 - 1) * torch.tensor([TURN, SCALE, SHEAR, SHIFT, SHIFT])[:, None]
    cosine, sine, scale = turn.cos(), turn.sin(), scale.exp()
    maps = torch.stack([cosine, shear - sine, right, sine, cosine, down], 1).unflatten(1, (2, 3))
    maps[:, :, :2] *= scale[:, None, None]
    grid = F.affine_grid(maps, list(x.shape), align_corners=False).to(x)
    result = F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
    before, after = ((each - each.mean((1, 2, 3), keepdim=True)) for each in (x, result))
    gain = before.square().mean((1, 2, 3), keepdim=True) / after.square().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return result.mean((1, 2, 3), keepdim=True) + after * gain.sqrt().clamp(max=2)
