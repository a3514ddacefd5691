"""Priors without parameters."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.errors import ConfigError
from owae.interfaces import Prior, Shape


def positive(**numbers: float | None) -> None:
    """Refuses numbers that are not above 0 and finite, with a `ConfigError`; None passes."""
    for name, number in numbers.items():
        if number is not None and not 0 < number < math.inf:
            raise ConfigError(f"{name} is {number}; it takes a number above 0 and finite")


class UniformSphere(Prior):
    """The uniform distribution on the sphere of all coordinates of an event together.

    Args:
        radius: The sphere's radius; by default `√d` for d coordinates, so that each has variance 1.
    """

    name = "uniform-sphere"

    def __init__(self, shape: Shape, /, *, radius: Annotated[float, Field(gt=0)] | None = None) -> None:
        super().__init__(shape)
        positive(radius=radius)
        self.radius = math.sqrt(math.prod(self.shape)) if radius is None else radius

    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        normal = torch.randn(n, math.prod(self.shape), device=self.anchor.device, dtype=self.anchor.dtype)
        # Half precision would round squares of its own numbers away, so the length is float32's at least.
        length = normal.float().norm(dim=1, keepdim=True) if normal.dtype.itemsize < 4 else normal.norm(dim=1, keepdim=True)
        return (self.radius * normal / length).to(normal.dtype).reshape(n, *self.shape)


class Laplace(Prior):
    """Independent Laplace variables of mean 0: a sharper centre and heavier tails than the normal's.

    Args:
        scale: The mean distance from 0; by default `1/√2`, which gives variance 1.
    """

    name = "laplace"

    def __init__(self, shape: Shape, /, *, scale: Annotated[float, Field(gt=0)] = math.sqrt(0.5)) -> None:
        super().__init__(shape)
        positive(scale=scale)
        self.scale = scale

    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        # The difference of two exponential variables is Laplace, and needs no logarithm of a number that may round to 0.
        draws = torch.empty(2, n, *self.shape, device=self.anchor.device, dtype=self.anchor.dtype).exponential_()
        return self.scale * (draws[0] - draws[1])
