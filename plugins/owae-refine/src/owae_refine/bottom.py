"""A fresh bottom decoder as a phase of training: `p(x | z_1)` learnt anew on the codes that a trained stack gives.

A bottom decoder trained with its encoder under a squared cost blurs what it is unsure of, and every sample with it. Under the l1 cost a
decoder gives medians, which keep edges and contrast. With the encoder as it is, the codes of the training examples are few and known to
it, so a share of the images is moved a little each time they are read, and encoded anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from owae import Stack
from owae.data.sources import examples
from owae.errors import ConfigError
from owae.interfaces import DataSource, LatentLayer, Phase
from owae.model.inference import evaluating
from owae.model.stack import Level
from owae_costs import L1
from owae_layers import MLP, Convolutional
from owae_refine.layers import Redecoded, Resting
from owae_refine.moved import Moved
from owae_refine.phase import Count, one_cycle, train_phase
from owae_refine.whitening import rows_to_measure

Share = Annotated[float, Field(ge=0, le=1)]


class Bottom(Phase):
    """Trains a fresh decoder from z_1 to the data under the l1 cost; encoders and reconstructions stay as they are to the bit.

    Samples show the new decoder's mean. It is a network of transposed convolutions for images (C, H, W), else a perceptron, and
    bounded as the trained one is.

    Args:
        channels: Filters of its convolutions, as those of the layer `convolutional`.
        hidden: Widths of its linear layers.
        jitter: Standard deviation of the noise that training adds to codes, in standardised units.
        moved: The share of images that are moved a little each time they are read; examples that are no images never are.
        epochs: Passes over the data.
        batch_size: Rows of a batch.
        lr: The highest rate of Adam in a one-cycle schedule.
    """

    name = "bottom"

    def __init__(
        self,
        *,
        channels: Annotated[Sequence[Count], Field(min_length=1)] = (32, 64),
        hidden: Annotated[Sequence[Count], Field(min_length=1)] = (256,),
        jitter: Annotated[float, Field(ge=0)] = 0.03,
        moved: Share = 0.5,
        epochs: Count = 50,
        batch_size: Annotated[int, Field(ge=2)] = 125,
        lr: Annotated[float, Field(gt=0)] = 3e-3,
    ) -> None:
        self.channels, self.hidden, self.jitter, self.moved = tuple(channels), tuple(hidden), jitter, moved
        self.training = one_cycle(epochs, batch_size, {"name": "Adam", "lr": lr})

    def options(self) -> Mapping[str, Any]:
        return self.training

    def examples(self, data: DataSource) -> DataSource:
        return Moved(data, self.moved) if self.moved and len(data.shape) == 3 else data

    def extend(self, stack: Stack) -> Stack:
        stack.requires_grad_(False)
        bottom, *deeper = stack.layers
        layer = Redecoded(bottom, self._decoder(bottom), jitter=self.jitter)
        levels = [Level(layer, cost=L1()), *(Level(Resting(each)) for each in deeper)]
        weights = [0.0] * stack.matched_level  # what is above z_1 is computed for the log alone
        return Stack(levels, divergence=stack.divergence, weights=weights, prior=stack.prior, matched_level=stack.matched_level)

    def _decoder(self, layer: LatentLayer) -> LatentLayer:
        shape, size = tuple(layer.in_shape), math.prod(layer.latent_shape)
        outputs = {None: "linear", (0.0, 1.0): "sigmoid", (-1.0, 1.0): "tanh"}
        if layer.output_range not in outputs:
            raise ConfigError(
                f"the bottom decoder gives values in {layer.output_range}; None, (0, 1) and (-1, 1) can be learnt anew"
            )
        output: Any = outputs[layer.output_range]
        if len(shape) == 3:
            made = Convolutional(
                shape, latent=size, channels=self.channels, hidden=self.hidden, decoder="deterministic", output=output
            )
        else:
            made = MLP(shape, latent=size, hidden=self.hidden, decoder="deterministic", output=output)
        made.encoder = nn.Sequential()  # never run
        return made

    def prepare(self, stack: Stack, data: DataSource) -> None:
        """Measures the statistics of z_1 on codes drawn for at most 10,000 examples."""
        layer = stack.layers[0]
        assert isinstance(layer, Redecoded)
        with evaluating(stack) as device:
            codes = [layer.encode(examples(data, rows, device)).rsample() for rows in rows_to_measure(data, [layer])]
        layer.code.fit(torch.cat(codes))


def fresh_bottom(stack: Stack, data: object, *, seed: int = 0, device: str = "auto", **options: Any) -> Stack:
    """Gives a copy of a trained stack a fresh bottom decoder; what `[bottom]` does in a config.

    Arguments and errors are those of `owae_refine.refine`; the options are the arguments of `Bottom`.
    """
    return train_phase(Bottom(**options), stack, data, seed, device)
