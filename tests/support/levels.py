"""Levels whose variances are known."""

from __future__ import annotations

import torch

from owae.distributions import Dirac, Gaussian
from owae.interfaces import Divergence, LatentLayer


class MeanGap(Divergence):
    name = "mean-gap"

    def forward(self, x, y):
        return (x.mean(0) - y.mean(0)).norm()


class Add(LatentLayer):
    """Decodes z to a Gaussian about z: each level adds variance of its own."""

    name = "add"

    def __init__(self, deviation: float, /) -> None:
        super().__init__()
        self.in_shape = self.latent_shape = (4,)
        self.deviation = deviation

    def encode(self, x):
        return Dirac(x)

    def decode(self, z):
        return Gaussian(z, torch.full_like(z, self.deviation**2)) if self.deviation else Dirac(z)
