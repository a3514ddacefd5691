"""A convolutional network between images and a vector, as of DCGAN (Radford et al. 2016), one a direction.

Upward: convolutions of stride 2, then hidden linear layers, then mean and variance's logit. Downward the mirror image: hidden linear
layers, a linear one to the smallest map, transposed convolutions of stride 2. Norm and activation follow each but the last. All
padding is "same": n pixels become ⌈n / 2⌉ on the way up and n again on the way down, so images of any size will do.

At the bottom of a stack its decoder keeps edges and contrast that a perceptron of like size blurs, the more so under the cost "l1".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from owae.distributions import Distribution, Gaussian
from owae.interfaces import LatentLayer, Shape
from owae_layers.parts import (
    Activation,
    Convolution,
    Count,
    Decoder,
    Epsilon,
    Head,
    Hidden,
    Initialisation,
    Momentum,
    Norm,
    Output,
    TransposedConvolution,
    image_shape,
    initialise,
)


class Convolutional(LatentLayer):
    """Conditionals by two convolutional networks, from images (channels, height, width) of any size to a vector and back.

    Args:
        in_shape: Shape of one event below, (C, H, W).
        latent: Dimension of the latent: `latent_shape` is `(latent,)`.
        channels: Filters of the encoder's convolutions, each of which halves the map (rounded up); the decoder's are the same reversed.
        hidden: Widths of the linear layers between the smallest map and the latent; the decoder's are the same reversed.
        filter_size: Height and width of every filter.
        norm: What normalises; after a convolution "layer" takes mean and variance over a whole map, channels and pixels.
        activation: The non-linearity.
        decoder: "gaussian" or "deterministic". Unless given, deterministic where `output` is bounded and Gaussian where it is
            linear, so that `output = "sigmoid"` is all that the bottom level of images in [0, 1] has to say.
        output: What the decoder's mean passes through.
        momentum: Share of the newest batch in batch norm's running statistics.
        eps: What batch and layer norm add to the variance.
        initialisation: How weights are first drawn; "torch" is the default of its layers.

    Raises:
        ConfigError: `in_shape` is not an image's.
        ValueError: In training with batch norm, on a batch of one.
    """

    name = "convolutional"

    def __init__(
        self,
        in_shape: Shape,
        /,
        *,
        latent: Count,
        channels: Annotated[Sequence[Count], Field(min_length=1)] = (32, 64),
        hidden: Sequence[Count] = (256,),
        filter_size: Count = 3,
        norm: Norm = "batch",
        activation: Activation = "relu",
        decoder: Decoder | None = None,
        output: Output = "linear",
        momentum: Momentum = 0.1,
        eps: Epsilon = 1e-5,
        initialisation: Initialisation = "torch",
    ) -> None:
        super().__init__()
        self.in_shape = _, height, width = image_shape(self.name, in_shape)
        self.latent_shape = (latent,)
        self.channels, self.hidden, self.filter_size = tuple(channels), tuple(hidden), filter_size
        self.head = Head(self.in_shape, output, decoder)
        self.output_range = self.head.range
        kind = Hidden(norm, activation, momentum, eps)
        maps = [self.in_shape]
        for features in channels:
            height, width = -(-height // 2), -(-width // 2)
            maps.append((features, height, width))
        self.encoder = _upward(maps, hidden, 2 * latent, filter_size, kind)
        self.decoder = _downward(maps, hidden, latent, self.head.network_shape[0], filter_size, kind)
        initialise(self, initialisation)

    def encode(self, x: Float[Tensor, "B *x"]) -> Distribution:
        return Gaussian.from_network(self.encoder(x))

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        return self.head(self.decoder(z))

    def summary(self) -> str:
        """The networks in words, as "3×3, 32, 64; 256": filters of the convolutions, then widths of the linear layers."""
        convolutions = f"{self.filter_size}×{self.filter_size}, {', '.join(map(str, self.channels))}"
        return "; ".join([convolutions, ", ".join(map(str, self.hidden))] if self.hidden else [convolutions])


def _upward(maps: Sequence[tuple[int, int, int]], hidden: Sequence[int], outputs: int, size: int, kind: Hidden) -> nn.Sequential:
    modules: list[nn.Module] = []
    for (inputs, *_), (features, *_) in itertools.pairwise(maps):
        modules += [Convolution(inputs, features, size, stride=2, bias=kind.bias), *kind.after(features, pixels=True)]
    widths = [math.prod(maps[-1]), *hidden]
    return nn.Sequential(*modules, nn.Flatten(), *kind.linear(widths), nn.Linear(widths[-1], outputs))


def _downward(
    maps: Sequence[tuple[int, int, int]], hidden: Sequence[int], latent: int, outputs: int, size: int, kind: Hidden
) -> nn.Sequential:
    widths = [latent, *reversed(hidden)]
    features, *_ = smallest = maps[-1]
    modules = [*kind.linear(widths), nn.Linear(widths[-1], math.prod(smallest), bias=kind.bias), nn.Unflatten(1, smallest)]
    for i, (below, height, width) in reversed([*enumerate(maps[:-1])]):
        modules += kind.after(features, pixels=True)
        # The last one gives the image, and has a bias whatever the norm.
        to, bias = (below, kind.bias) if i > 0 else (outputs, True)
        modules.append(TransposedConvolution(features, to, size, target=(height, width), bias=bias))
        features = below
    return nn.Sequential(*modules)
