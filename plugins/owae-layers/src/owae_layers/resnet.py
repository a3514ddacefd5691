"""The residual network of App. B.2, one a direction.

Upward: `blocks` times [convolution → norm → activation], then a resampling convolution (stride 2 and twice the filters when it
goes down); a skip connection around all of them; their sum → norm → activation → a last convolution to the latent's channels,
mean and variance's logit. Downward is the mirror image: the resampling first (transposed, stride 2, half the filters, if it goes
up), then `blocks` times [norm → activation → convolution], the skip, sum → norm → activation → last convolution. So both ways
the sum joins two plain convolutions, as in the authors' code. The skip is the identity where size and channels agree, else a
convolution of the resampling's filter size and stride. All padding is "same": n pixels become ⌈n / 2⌉ on the way down and n
again on the way up.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from owae.distributions import Distribution, Gaussian
from owae.interfaces import LatentLayer, Shape
from owae_layers.parts import (
    Activation,
    Blocks,
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
    Resample,
    TransposedConvolution,
    image_shape,
    initialise,
)

PAPER_BLOCKS = 2  # with the resampling convolution they make a "3-layer" network


class Residual(nn.Module):
    """`last(join(branch(x) + skip(x)))`."""

    def __init__(self, branch: list[nn.Module], skip: nn.Module, join: list[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.skip = skip
        self.join = nn.Sequential(*join)
        self.last = last

    def forward(self, x: Float[Tensor, "B channels H W"]) -> Float[Tensor, "B outputs H2 W2"]:
        return self.last(self.join(self.branch(x) + self.skip(x)))


class ResNet(LatentLayer):
    """Conditionals by two residual networks of convolutions, for images (channels, height, width) of any size.

    Args:
        in_shape: Shape of one event below, (C, H, W).
        channels: Channels of the latent: `latent_shape` is (channels, H', W'), half the size (rounded up) if it goes down.
        filters: Filters of each convolution; a resampling one has twice as many on the way down and half on the way up.
        filter_size: Height and width of every filter.
        resample: "down" halves the map (and doubles it on the way back), "none" keeps its size.
        blocks: Convolution blocks beside the resampling, 2 in the paper's "3-layer" networks.
        norm: What normalises; "layer" takes mean and variance over a whole map, channels and pixels.
        activation: The non-linearity.
        decoder: "gaussian" or "deterministic". Unless given, deterministic where `output` is bounded and Gaussian where it is
            linear, so that `output = "sigmoid"` or "tanh" is all that the bottom level of images has to say.
        output: What the decoder's mean passes through.
        momentum: Share of the newest batch in batch norm's running statistics.
        eps: What batch and layer norm add to the variance.
        initialisation: How weights are first drawn; "torch" is its `nn.Conv2d` default.

    Raises:
        ConfigError: `in_shape` is not an image's.
        ValueError: In training with batch norm, on one value a channel: a batch of one whose map is 1×1.
    """

    name = "resnet"

    def __init__(
        self,
        in_shape: Shape,
        /,
        *,
        channels: Count,
        filters: Count = 64,
        filter_size: Count = 3,
        resample: Resample = "none",
        blocks: Blocks = PAPER_BLOCKS,
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
        halves = resample == "down"
        self.latent_shape = (channels, -(-height // 2), -(-width // 2)) if halves else (channels, height, width)
        self.filters, self.filter_size, self.resample, self.blocks = filters, filter_size, resample, blocks
        self.head = Head(self.in_shape, output, decoder)
        self.output_range = self.head.range
        kind = Hidden(norm, activation, momentum, eps)
        self.encoder = _upward(self.in_shape, 2 * channels, filters, filter_size, blocks, halves, kind)
        self.decoder = _downward(self.latent_shape, self.head.network_shape, filters, filter_size, blocks, halves, kind)
        initialise(self, initialisation)

    def encode(self, x: Float[Tensor, "B *x"]) -> Distribution:
        return Gaussian.from_network(self.encoder(x))

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        return self.head(self.decoder(z))

    def summary(self) -> str:
        """The network in the words of the paper's tables, as "5×5, 64, down/up", and the number of blocks where it is not theirs."""
        resample = "down/up" if self.resample == "down" else "none"
        blocks = "" if self.blocks == PAPER_BLOCKS else f", {self.blocks} block{'' if self.blocks == 1 else 's'}"
        return f"{self.filter_size}×{self.filter_size}, {self.filters}, {resample}{blocks}"


def _upward(shape: Shape, outputs: int, filters: int, size: int, blocks: int, halves: bool, kind: Hidden) -> Residual:
    inputs = shape[0]
    stride, joined = (2, 2 * filters) if halves else (1, filters)
    branch: list[nn.Module] = []
    features = inputs
    for _ in range(blocks):
        branch += [Convolution(features, filters, size, bias=kind.bias), *kind.after(filters, pixels=True)]
        features = filters
    branch.append(Convolution(features, joined, size, stride=stride, bias=kind.bias))
    identity = not halves and inputs == joined
    skip = nn.Identity() if identity else Convolution(inputs, joined, size, stride=stride, bias=kind.bias)
    return Residual(branch, skip, kind.after(joined, pixels=True), Convolution(joined, outputs, size))


def _downward(shape: Shape, to: Shape, filters: int, size: int, blocks: int, doubles: bool, kind: Hidden) -> Residual:
    inputs = shape[0]
    outputs, height, width = to

    def resampling(features: int) -> nn.Module:
        if doubles:
            return TransposedConvolution(inputs, features, size, target=(height, width), bias=kind.bias)
        return Convolution(inputs, features, size, bias=kind.bias)

    features = max(filters // 2, 1) if doubles and blocks else filters
    branch = [resampling(features)]
    for _ in range(blocks):
        branch += [*kind.after(features, pixels=True), Convolution(features, filters, size, bias=kind.bias)]
        features = filters
    skip = nn.Identity() if not doubles and inputs == filters else resampling(filters)
    return Residual(branch, skip, kind.after(filters, pixels=True), Convolution(filters, outputs, size))
