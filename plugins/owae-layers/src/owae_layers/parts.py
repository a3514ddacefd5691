"""What the networks share: their options' types, what follows a hidden layer, initialisation, and the decoder's head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from owae.distributions import Dirac, Distribution, Gaussian, at_least_float32
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


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm over rows, (B, C), that says why it cannot be trained on a batch of one."""

    def _check_input_dim(self, input: Tensor) -> None:  # not `forward`, which several processes replace
        super()._check_input_dim(input)
        _refuse_single_value(self, input)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over rows and pixels, (B, C, H, W), that says why it cannot be trained on a single value a channel."""

    def _check_input_dim(self, input: Tensor) -> None:  # not `forward`, which several processes replace
        super()._check_input_dim(input)
        _refuse_single_value(self, input)


def _refuse_single_value(norm: nn.BatchNorm1d | nn.BatchNorm2d, input: Tensor) -> None:
    if norm.training and input.numel() == input.size(1):
        raise ValueError(
            f"batch norm cannot be trained on one value a channel: its input has shape {tuple(input.shape)}, and the variance of a "
            'single value is 0; train with batches of at least two, take norm = "layer" or "none", or evaluate with eval()'
        )


@dataclass(frozen=True)
class Hidden:
    """What follows a hidden linear or convolutional layer: a norm and an activation, by their options."""

    norm: Norm
    activation: Activation
    momentum: float
    eps: float

    @property
    def bias(self) -> bool:
        """Whether the layer before has a bias: batch norm subtracts the mean, so there it would have no effect and no gradient."""
        return self.norm != "batch"

    def after_linear(self, features: int) -> list[nn.Module]:
        """Norm and activation for (B, features)."""
        return self._with_activation(
            BatchNorm1d(features, momentum=self.momentum, eps=self.eps)
            if self.norm == "batch"
            else nn.LayerNorm(features, self.eps)
        )

    def after_convolution(self, features: int) -> list[nn.Module]:
        """Norm and activation for (B, features, H, W); "layer" norm is over features and pixels."""
        return self._with_activation(
            BatchNorm2d(features, momentum=self.momentum, eps=self.eps)
            if self.norm == "batch"
            else nn.GroupNorm(1, features, self.eps)
        )

    def _with_activation(self, normalise: nn.Module) -> list[nn.Module]:
        activate = _ACTIVATIONS[self.activation]()
        return [activate] if self.norm == "none" else [normalise, activate]


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
        """The distribution given by outputs of the network, (B, *network_shape)."""
        squash = _SQUASH[self.output]
        if self.decoder == "deterministic":
            return Dirac(squash(at_least_float32(output)))
        p = Gaussian.from_network(output)
        return Gaussian(squash(p.mean), p.variance)


def initialise(network: nn.Module, how: Initialisation) -> None:
    """Draw the weights of every linear and (transposed) convolutional layer anew and zero its bias; "torch" leaves torch's own.

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
