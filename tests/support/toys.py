"""Small components for tests of the engine: each the least that its interface asks for, none a default or a plugin's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from owae.distributions import Dirac, Distribution, Gaussian
from owae.interfaces import Cost, Divergence, LatentLayer, Regulariser, Shape
from owae.model.objective import Objective
from owae.model.stack import Stack


class Affine(LatentLayer):
    """Linear maps both ways, Gaussian or deterministic; smooth, so that finite differences see its gradients."""

    name = "affine"

    def __init__(self, in_shape: Shape, /, *, latent: int, noise: bool = True) -> None:
        super().__init__()
        self.in_shape, self.latent_shape, self.noise = tuple(in_shape), (latent,), noise
        size = int(torch.Size(in_shape).numel())
        self.up = nn.Linear(size, 2 * latent)
        self.down = nn.Linear(latent, 2 * size)

    def encode(self, x: Tensor) -> Distribution:
        q = Gaussian.from_network(self.up(x.flatten(1)))
        return q if self.noise else Dirac(q.mean)

    def decode(self, z: Tensor) -> Distribution:
        p = Gaussian.from_network(self.down(torch.tanh(z)))
        mean, variance = (moment.unflatten(1, self.in_shape) for moment in (p.mean, p.variance))
        return Gaussian(mean, variance) if self.noise else Dirac(mean)


class Moments(Divergence):
    """The distance between the samples' means and between their second moments."""

    name = "moments"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first = (x.mean(0) - y.mean(0)).square().sum()
        return first + (x.square().mean(0) - y.square().mean(0)).square().sum()


class Bounded(Cost):
    """A cost without a closed form: a bounded function of the squared distance."""

    name = "bounded"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        squared = (x - y).square().flatten(1).sum(1)
        return squared / (1 + squared)


class Spread(Regulariser):
    """The sum of an encoder's variances."""

    name = "spread"

    def forward(self, q: Distribution) -> Tensor:
        return q.variance.flatten(1).sum(1)


def whole_and_upper(stack: Stack, z: Tensor, x: Tensor) -> tuple[Objective, Objective]:
    """The objective of a stack and that of the slice above its first level, at the same draws."""
    entered: list[Tensor] = []
    upper_layer = stack.layers[1]
    encode = upper_layer.encode

    def spy(x: Tensor):
        entered.append(torch.get_rng_state())
        return encode(x)

    upper_layer.encode = spy
    whole = stack(z, data=x)
    upper_layer.encode = encode
    torch.set_rng_state(entered[0])
    return whole, stack[1:](whole.codes[0], data=x)
