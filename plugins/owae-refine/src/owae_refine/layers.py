"""Layers of a trained stack, wrapped for refinement: the encoder and the point of the decoder stay, the conditional learns to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor

from owae.distributions import Dirac, Distribution, at_least_float32
from owae.interfaces import Cost, LatentLayer, Shape
from owae.torch_state import generators_kept
from owae_refine.networks import NoisyConvolutions, NoisyPerceptron
from owae_refine.whitening import Whitening

MOMENTS = 256  # draws that moments are estimated from


class Draws:
    """A distribution known by its draws. Its moments are those of draws at noise that is the same each time, computed when asked for.

    Attributes:
        from_noise: Makes a draw of each row of standard normal noise.
        noise_shape: Shape of the noise of one draw.

    Args:
        draw: Makes a draw of each row, (B, *event), of noise (B, *noise).
        noise_shape: Shape of the noise of one draw.
        like: Has the shape of a draw, its dtype and its device.
    """

    def __init__(self, draw: Callable[[Tensor], Tensor], noise_shape: Shape, like: Tensor) -> None:
        self.from_noise, self.noise_shape, self._like = draw, noise_shape, like
        self.shape = like.shape

    def rsample(self) -> Tensor:
        return self.from_noise(torch.randn(len(self._like), *self.noise_shape, dtype=self._like.dtype, device=self._like.device))

    @property
    def mean(self) -> Tensor:
        return self._moments[0]

    @property
    def variance(self) -> Tensor:
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        noise = torch.randn(MOMENTS // 2, *self.noise_shape, generator=torch.Generator().manual_seed(0)).to(self._like)
        draws = [self.from_noise(each.expand(len(self._like), *each.shape)) for each in (*noise, *-noise)]
        variance, mean = torch.var_mean(torch.stack(draws), 0)
        return mean, variance


class Frozen(LatentLayer):
    """A trained layer that stays as it is: in evaluation mode whatever the mode of the stack, without gradients of its own.

    Args:
        layer: The trained layer; taken over, not copied.
    """

    name = "frozen"

    def __init__(self, layer: LatentLayer, /) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False).eval()
        self.in_shape, self.latent_shape = tuple(layer.in_shape), tuple(layer.latent_shape)
        self.output_range, self.draws_data = layer.output_range, layer.draws_data

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.layer.eval()
        return self

    def encode(self, x: Float[Tensor, "B *x"]) -> Distribution:
        return self.layer.encode(x)

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        return self.layer.decode(z)

    def point(self, z: Float[Tensor, "B *z"]) -> Float[Tensor, "B *x"]:
        return self.layer.point(z)


class Resting(Frozen):
    """A frozen layer whose decoder, while others are trained, gives its point, so that nothing is drawn for a cost without a gradient."""

    name = "resting"

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        return Dirac(self.layer.point(z)) if self.training else self.layer.decode(z)


class Redecoded(Frozen):
    """A trained bottom layer with another decoder beside its own: samples show the new one's, reconstructions the trained one's.

    The decoders of deeper levels were trained through the old one, whose errors they make up for, so `point` stays it.

    Args:
        layer: The trained layer; taken over, not copied.
        decoder: A layer that decodes flat standardised codes (B, d); its encoder is never run.
        jitter: Standard deviation of noise that training adds to the standardised code.
    """

    name = "redecoded"

    def __init__(self, layer: LatentLayer, decoder: LatentLayer, /, *, jitter: float = 0.03) -> None:
        super().__init__(layer)
        self.draws_data = True
        self.jitter = jitter
        self.code = Whitening(self.latent_shape[0])
        self.new_decoder = decoder

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        code = self.code(at_least_float32(z))
        if self.training:
            code = code + self.jitter * torch.randn_like(code)
        return self.new_decoder.decode(code.flatten(1))


class Refined(Frozen):
    """A trained layer whose decoder learns to draw: `p(x | z)` is the law of `point(z) + residual(z, noise)`.

    The residual is computed in standardised coordinates, whitened where the event is a vector, standardised by channel where it is a
    map; so is the code that it depends on. In evaluation mode a draw is held within the layer's `output_range`, if it has one.

    Args:
        layer: The trained layer; taken over, not copied.
        hidden: Widths of the network's hidden layers, where the event or the code is no map (C, H, W).
        filters: Filters of its hidden convolutions, where both are.
        jitter: Standard deviation of noise that training adds to the standardised code.
    """

    name = "refined"

    def __init__(
        self,
        layer: LatentLayer,
        /,
        *,
        hidden: Sequence[int] = (256, 256, 256),
        filters: Sequence[int] = (64, 64, 64),
        jitter: float = 0.05,
    ) -> None:
        super().__init__(layer)
        self.draws_data = True
        self.jitter = jitter
        self.code = Whitening(self.latent_shape[0])
        self.residual = Whitening(self.in_shape[0], decorrelate=len(self.in_shape) == 1)
        maps = len(self.in_shape) == len(self.latent_shape) == 3
        made = partial(NoisyConvolutions, filters=filters) if maps else partial(NoisyPerceptron, hidden=hidden)
        self.network = made(self.latent_shape, self.in_shape)

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        point = at_least_float32(self.layer.point(z))
        code = self.code(at_least_float32(z))
        if self.training:
            code = code + self.jitter * torch.randn_like(code)
        draw = partial(self._draw, point, at_least_float32(self.network.embed(code)))
        return Draws(draw, self.network.noise_shape, point)

    def _draw(self, point: Tensor, embedded: Tensor, noise: Tensor) -> Tensor:
        x = point + self.residual.inverse(self.network(embedded, noise))
        # Not in training, where what is cut off would have no gradient.
        return x if self.training or self.output_range is None else x.clamp(*self.output_range)


class Standardised(Cost):
    """A cost between events in the standardised coordinates of a refined layer.

    Args:
        cost: The cost, one that does not change where both arguments are moved alike.
        layer: The layer.
        jitter: Standard deviation of noise that training adds to the standardised target.
    """

    name = "standardised"

    def __init__(self, cost: Cost, layer: Refined, /, *, jitter: float = 0.0) -> None:
        super().__init__()
        self.cost, self.jitter = cost, jitter
        self._residual = (layer.residual,)  # in a tuple, for it is the layer's module

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        (standardise,) = self._residual
        return self.cost(standardise(x), standardise(y))

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        (standardise,) = self._residual
        target = standardise(x)
        if self.training:
            target = target + self.jitter * torch.randn_like(target)
        return self.cost.expected(target, _Mapped(p, standardise))


class _Mapped:
    """A distribution's image under an affine map, for costs that draw from it."""

    def __init__(self, p: Distribution, function: Callable[[Tensor], Tensor]) -> None:
        self._p, self._function = p, function

    def rsample(self) -> Tensor:
        return self._function(self._p.rsample())

    @property
    def mean(self) -> Tensor:
        return self._function(self._p.mean)

    @property
    def variance(self) -> Tensor:
        """That of draws, for a rotated distribution's follows from covariances, which p does not have."""
        with generators_kept():
            return torch.stack([self.rsample() for _ in range(MOMENTS)]).var(0)
