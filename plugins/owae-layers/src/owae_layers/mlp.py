"""The multilayer perceptron of App. B.1: linear → batch norm → ReLU in each hidden layer, one network a direction.

The encoder flattens its input and ends in twice `latent` outputs, mean and variance's logit; the decoder has the hidden layers in
reverse order and comes back to the input's shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from owae.distributions import Distribution, Gaussian
from owae.interfaces import LatentLayer, Shape
from owae_layers.parts import Activation, Count, Decoder, Epsilon, Head, Hidden, Initialisation, Momentum, Norm, Output, initialise


class MLP(LatentLayer):
    """Conditionals by two multilayer perceptrons, for events of any shape.

    Args:
        in_shape: Shape of one event below, `*x`; flattened on the way up, restored on the way down.
        latent: Dimension of the latent: `latent_shape` is `(latent,)`.
        hidden: Widths of the encoder's hidden layers; the decoder's are the same reversed. Empty for linear maps.
        norm: What follows each hidden linear layer.
        activation: What follows that.
        decoder: "gaussian" or "deterministic". Unless given, deterministic where `output` is bounded and Gaussian where it is
            linear, so that `output = "sigmoid"` is all that the bottom level of images in [0, 1] has to say.
        output: What the decoder's mean passes through.
        momentum: Share of the newest batch in batch norm's running statistics.
        eps: What batch and layer norm add to the variance.
        initialisation: How weights are first drawn; "torch" is its `nn.Linear` default.

    Raises:
        ValueError: In training with batch norm, on a batch of one.
    """

    name = "mlp"

    def __init__(
        self,
        in_shape: Shape,
        /,
        *,
        latent: Count,
        hidden: Sequence[Count] = (512, 512),
        norm: Norm = "batch",
        activation: Activation = "relu",
        decoder: Decoder | None = None,
        output: Output = "linear",
        momentum: Momentum = 0.1,
        eps: Epsilon = 1e-5,
        initialisation: Initialisation = "torch",
    ) -> None:
        super().__init__()
        self.in_shape = tuple(in_shape)
        self.latent_shape = (latent,)
        self.hidden = tuple(hidden)
        self.head = Head(self.in_shape, output, decoder)
        self.output_range = self.head.range
        kind = Hidden(norm, activation, momentum, eps)
        up = [math.prod(self.in_shape), *self.hidden]
        down = [latent, *reversed(self.hidden)]
        self.encoder = nn.Sequential(*kind.linear(up), nn.Linear(up[-1], 2 * latent))
        self.decoder = nn.Sequential(*kind.linear(down), nn.Linear(down[-1], math.prod(self.head.network_shape)))
        initialise(self, initialisation)

    def encode(self, x: Float[Tensor, "B *x"]) -> Distribution:
        return Gaussian.from_network(self.encoder(x.flatten(1)))

    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        return self.head(self.decoder(z).unflatten(1, self.head.network_shape))

    def summary(self) -> str:
        """The hidden widths in words, as "512, 512"."""
        return ", ".join(map(str, self.hidden)) or "linear"
