"""What the laws of `Divergence` are tried on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from owae.interfaces import Divergence, Prior, Shape
from owae.model.defaults import StandardNormal
from owae.testing.laws import seeded


@dataclass(frozen=True)
class Case:
    divergence: Divergence
    shape: Shape
    device: torch.device
    zero_at_equality: bool
    translation_invariant: bool
    gradient_rtol: float
    closed_form_rtol: float

    def cloud(self, n: int, *, at: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(n, *self.shape, device=self.device, dtype=dtype) + at

    def prior(self, dtype: torch.dtype = torch.float32) -> StandardNormal:
        return StandardNormal(self.shape).to(self.device, dtype)

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        with seeded():
            return self.divergence(x, y)

    def value_to_prior(self, x: Tensor, prior: Prior | None = None) -> Tensor:
        with seeded():
            return self.divergence.to_prior(x, self.prior(x.dtype) if prior is None else prior)

    def scale(self) -> float:
        """How large it is for clouds 3 apart: the unit of "near 0"."""
        return abs(self.value(self.cloud(64), self.cloud(64, at=3)).item())


class Shifted(Prior):
    """N(t, I) with a learnt t: a prior that no plugin has a closed form for."""

    name = "shifted"

    def __init__(self, shape: Shape, /) -> None:
        super().__init__(shape)
        self.shift = nn.Parameter(torch.ones(self.shape))

    def sample(self, n: int) -> Tensor:
        return self.shift + torch.randn(n, *self.shape, device=self.anchor.device, dtype=self.anchor.dtype)
