"""Components that a builder can meet: some sound, some that refuse their options or break a promise."""

from __future__ import annotations

import types
from typing import Any, Literal

import torch
from torch import Tensor
from toys import Affine, Moments, Spread

from owae.distributions import Dirac, Distribution
from owae.errors import DataError
from owae.interfaces import Component, Cost, DataSource, Prior

RANGES: dict[str, tuple[float, float] | None] = {"linear": None, "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


class Dense(Affine):
    """`Affine` with what a config can get wrong."""

    name = "dense"

    def __init__(
        self,
        in_shape: tuple[int, ...],
        /,
        *,
        latent: int,
        output: Literal["linear", "sigmoid", "tanh"] = "linear",
        odd: bool = False,
    ) -> None:
        if odd and latent % 2 == 0:
            raise ValueError(f"found latent = {latent}; an odd layer needs an odd one")
        super().__init__(in_shape, latent=latent)
        self.output_range = RANGES[output]
        self.norm = torch.nn.BatchNorm1d(latent)

    def encode(self, x: Tensor) -> Distribution:
        q = super().encode(x)
        return Dirac(self.norm(q.mean) + q.rsample() - q.mean)


class Source(DataSource):
    """Zeros."""

    name = "zeros"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        shape: tuple[int, ...] = (1, 4, 4),
        test_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        count: int = 4,
        draws: int = 0,
        fails: Literal["no", "type", "os", "data"] = "no",
    ) -> None:
        if fails != "no":
            raise {"type": TypeError, "os": FileNotFoundError, "data": DataError}[fails]("no such luck")
        torch.rand(draws)
        self.shape = test_shape if test_shape and split == "test" else shape
        self.value_range, self.count = value_range, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return torch.zeros(self.shape)


class Choosy(Cost):
    name = "choosy"

    def __init__(self, *, power: int = 2) -> None:
        super().__init__()
        if power != 2:
            raise ValueError(f"found power = {power}; 2 would work")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).flatten(1).sum(1)


class Uniform(Prior):
    name = "uniform"

    def __init__(self, shape: tuple[int, ...], /, *, wrong: Literal["no", "shape", "draws", "error"] = "no") -> None:
        super().__init__((*shape, 1) if wrong == "shape" else shape)
        self.wrong = wrong

    def sample(self, n: int) -> Tensor:
        if self.wrong == "error":
            raise KeyError("draw")
        return torch.rand(n + (self.wrong == "draws"), *self.shape)


class Crooked(Affine):
    """Breaks a promise about shapes, each in its own way."""

    name = "crooked"

    def __init__(self, in_shape: tuple[int, ...], /, *, way: str, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.way = way
        if way == "no latent_shape":
            del self.latent_shape
        if way == "empty latent_shape":
            self.latent_shape = (0,)
        if way == "other in_shape":
            self.in_shape = (7,)

    def encode(self, x: Tensor) -> Any:
        if self.way == "tensor":
            return x
        if self.way == "encode raises":
            raise RuntimeError("mat1 and mat2 cannot be multiplied")
        extra = 1 if self.way == "encode" else 0
        if self.way == "draw":
            return types.SimpleNamespace(mean=x[:, :3], variance=x[:, :3], rsample=lambda: x[:1, :3])
        return Dirac(x.new_zeros(len(x), self.latent_shape[0] + extra))

    def decode(self, z: Tensor) -> Distribution:
        if self.way == "decode raises":
            raise IndexError("out of range")
        return Dirac(z.new_zeros(len(z), *self.in_shape, *([1] if self.way == "decode" else [])))


COMPONENTS: list[type[Component]] = [Dense, Source, Choosy, Uniform, Crooked, Moments, Spread]
