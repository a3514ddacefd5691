"""Parts that the networks share: their options' types, what follows a hidden layer, initialisation, and the decoder's head."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from owae.distributions import Dirac, Distribution, Gaussian, at_least_float32
from owae.errors import ConfigError
from owae.interfaces import Shape

Count = Annotated[int, Field(ge=1)]
Blocks = Annotated[int, Field(ge=0)]
Norm = Literal["batch", "layer", "none"]
Activation = Literal["relu", "leaky-relu", "elu", "gelu", "silu", "tanh"]
Initialisation = Literal["torch", "kaiming", "xavier", "orthogonal"]
Decoder = Literal["gaussian", "deterministic"]
Output = Literal["linear", "sigmoid", "tanh"]
Resample = Literal["none", "down"]
Momentum = Annotated[float, Field(gt=0, le=1)]
Epsilon = Annotated[float, Field(gt=0)]

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

_RANGES: dict[Output, tuple[float, float] | None] = {"linear": None, "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
_SQUASH: dict[Output, Callable[[Tensor], Tensor]] = {"linear": lambda x: x, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


class _RefusesSingleValue(_BatchNorm):
    """Batch norm that says why it cannot be trained on a single value a channel."""

    def _check_input_dim(self, input: Tensor) -> None:  # not `forward`, which is replaced where several processes train
        super()._check_input_dim(input)
        if self.training and input.numel() == input.size(1):
            raise ValueError(
                f"batch norm cannot be trained on one value a channel: its input has shape {tuple(input.shape)}, and the variance of a "
                'single value is 0; train with batches of at least two, take norm = "layer" or "none", or evaluate with eval()'
            )


class BatchNorm1d(_RefusesSingleValue, nn.BatchNorm1d):
    """Batch norm over rows, (B, C)."""


class BatchNorm2d(_RefusesSingleValue, nn.BatchNorm2d):
    """Batch norm over rows and pixels, (B, C, H, W)."""


@dataclass(frozen=True)
class Hidden:
    """Makes what follows a hidden linear or convolutional layer: a norm and an activation, by their options."""

    norm: Norm
    activation: Activation
    momentum: float
    eps: float

    @property
    def bias(self) -> bool:
        """Tells whether the layer before has a bias: batch norm subtracts the mean, so there it would have no effect and no gradient."""
        return self.norm != "batch"

    def after(self, features: int, *, pixels: bool) -> list[nn.Module]:
        """Makes norm and activation for (B, features), or for (B, features, H, W), where "layer" norm is over features and pixels."""
        activation = _ACTIVATIONS[self.activation]()
        if self.norm == "none":
            return [activation]
        if self.norm == "batch":
            batch_norm = BatchNorm2d if pixels else BatchNorm1d
            return [batch_norm(features, momentum=self.momentum, eps=self.eps), activation]
        return [nn.GroupNorm(1, features, self.eps) if pixels else nn.LayerNorm(features, self.eps), activation]

    def linear(self, widths: Sequence[int]) -> list[nn.Module]:
        """Makes the hidden linear layers from each width to the next, and what follows each; none for a single width."""
        pairs = itertools.pairwise(widths)
        return [module for a, b in pairs for module in (nn.Linear(a, b, bias=self.bias), *self.after(b, pixels=False))]


class Convolution(nn.Conv2d):
    """A convolution with "same" padding for any filter size: n pixels give ⌈n / stride⌉."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=(size - 1) // 2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        # An even filter has no middle: it needs one more row and column on the far side than on the near one.
        return super().forward(F.pad(input, (0, 1, 0, 1)) if self.kernel_size[0] % 2 == 0 else input)


class TransposedConvolution(nn.ConvTranspose2d):
    """The way back from a `Convolution` of stride 2: ⌈n / 2⌉ pixels give the n they came from, `target` = (height, width)."""

    def __init__(self, inputs: int, outputs: int, size: int, *, target: tuple[int, int], bias: bool = True) -> None:
        # This padding doubles the pixels, whatever the filter's size; an odd map is that without its last row or column.
        super().__init__(inputs, outputs, size, stride=2, padding=(size - 1) // 2, output_padding=size % 2, bias=bias)
        self.target = target

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(input, output_size)[..., : self.target[0], : self.target[1]]


def image_shape(kind: str, shape: Shape) -> tuple[int, int, int]:
    """Returns the shape (C, H, W) of images; a `ConfigError` that names the kind of layer if it is another's."""
    if len(shape) != 3:
        raise ConfigError(
            f"{kind} takes images, (channels, height, width), but is given events of shape {tuple(shape)}; use mlp there"
        )
    return shape[0], shape[1], shape[2]


class Head:
    """Makes `p(x | z)` of a decoder's output.

    Args:
        shape: Shape of one event, `*x`.
        output: What the mean passes through; sigmoid and tanh bound it.
        decoder: "gaussian" (mean and variance from the network) or "deterministic" (Dirac). Unless given, deterministic where
            the output is bounded, as an image's is, and Gaussian where it is linear (Sec. 3: only `p(x | z_1)` is deterministic).

    Attributes:
        range: Bounds of the mean, or None.
        network_shape: Shape of an output of the network: an event's, with twice the channels for a Gaussian.
    """

    def __init__(self, shape: Shape, output: Output, decoder: Decoder | None) -> None:
        self.output: Output = output
        self.decoder: Decoder = decoder or ("gaussian" if output == "linear" else "deterministic")
        self.range = _RANGES[output]
        channels, *rest = shape
        self.network_shape: Shape = (2 * channels if self.decoder == "gaussian" else channels, *rest)

    def __call__(self, output: Float[Tensor, "B channels *rest"]) -> Distribution:
        """Makes the distribution given by outputs of the network, (B, *network_shape)."""
        squash = _SQUASH[self.output]
        if self.decoder == "deterministic":
            return Dirac(squash(at_least_float32(output)))
        p = Gaussian.from_network(output)
        return Gaussian(squash(p.mean), p.variance)


def initialise(network: nn.Module, how: Initialisation) -> None:
    """Draws the weights of every linear and (transposed) convolutional layer anew and zeroes its bias; "torch" leaves torch's own.

    "kaiming" is normal with gain √2 (for ReLU), "xavier" uniform with gain 1, "orthogonal" has gain √2.
    """
    for module in network.modules():
        if how != "torch" and isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if how == "kaiming":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif how == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.orthogonal_(module.weight, gain=2**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
