"""What the method takes unless told otherwise: squared Euclidean cost, standard normal prior, ancestral prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from owae.distributions import Distribution
from owae.interfaces import Cost, LatentLayer, Prior
from owae.model.context import PLAIN, Context


class SquaredEuclidean(Cost):
    """`‖x − y‖²`, summed over the event: the ground cost of all the paper's experiments (Sec. 3)."""

    name = "squared-euclidean"

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        return (x - y).square().flatten(1).sum(1)

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        """`Σ_d (μ_d − x_d)² + σ²_d`, in closed form."""
        return ((x - p.mean).square() + p.variance).flatten(1).sum(1)


class Euclidean(Cost):
    """`‖x − y‖`, not squared; its gradient at `x = y` is taken as zero. Expectations are by one draw."""

    name = "euclidean"

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        squared = (x - y).square().flatten(1).sum(1)
        # The root's derivative is infinite at 0; where the rows agree, the root is taken of a constant instead.
        apart = squared > 0
        return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


class StandardNormal(Prior):
    """`N(0, I)`, the paper's prior on the deepest level (Eq. 1)."""

    name = "standard-normal"

    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        return torch.randn(n, *self.shape, device=self.anchor.device, dtype=self.anchor.dtype)


class Ancestral(Prior):
    """The prior that deeper levels induce on a shallower one (Eq. 7): a draw of the deepest prior, decoded downward with noise.

    It is made from a stack's own deeper layers (`matched_level = k` in a config), so it has no options and no name of its own in a
    config. Gradients reach those layers' decoders.

    Args:
        layers: The layers above the matched level, bottom first.
        prior: The prior on the deepest level.
        context: How decoders are run and draws taken.
    """

    name = "ancestral"

    def __init__(self, layers: Sequence[LatentLayer], prior: Prior, /, context: Context = PLAIN) -> None:
        super().__init__(layers[0].in_shape if layers else prior.shape)
        self.anchor = prior.anchor
        self.layers = nn.ModuleList(layers)
        self.prior = prior
        self._context = context

    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        z = self.prior.sample(n)
        for layer in reversed(self.layers):
            assert isinstance(layer, LatentLayer)
            z = self._context.draw(self._context.decode(layer, z))
        return z
