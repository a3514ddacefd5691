"""Networks from a condition and noise to an event. What depends on the condition alone is computed once for all draws: `embed`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from owae.interfaces import Shape

LEAST_NOISE = 8  # dimensions or channels, however few the event has


class NoisyPerceptron(nn.Module):
    """A multilayer perceptron of `[condition, noise]` with SiLU, for events of any shape.

    Args:
        condition: Shape of a condition.
        event: Shape of an event.
        hidden: Widths of the hidden layers, at least one.
    """

    def __init__(self, condition: Shape, event: Shape, hidden: Sequence[int]) -> None:
        super().__init__()
        self.event = event
        self.noise_shape: Shape = (max(math.prod(event), LEAST_NOISE),)
        self.from_condition = nn.Linear(math.prod(condition), hidden[0])
        self.from_noise = nn.Linear(*self.noise_shape, hidden[0], bias=False)
        widths = itertools.pairwise([*hidden, math.prod(event)])
        self.rest = nn.Sequential(*(part for pair in widths for part in (nn.SiLU(), nn.Linear(*pair))))

    def embed(self, condition: Float[Tensor, "B *z"]) -> Float[Tensor, "B width"]:
        return self.from_condition(condition.flatten(1))

    def forward(self, embedded: Float[Tensor, "B width"], noise: Float[Tensor, "B noise"]) -> Float[Tensor, "B *x"]:
        return self.rest(embedded + self.from_noise(noise)).unflatten(1, self.event)


class NoisyConvolutions(nn.Module):
    """The same of 3×3 convolutions, for maps (C, H, W) and conditions that are maps; those are brought to the event's size.

    Half of the noise is the same all over a map, so that what is drawn can also differ as a whole.
    """

    def __init__(self, condition: Shape, event: Shape, filters: Sequence[int]) -> None:
        super().__init__()
        self.size = event[1:]
        self.noise_shape: Shape = (2 * max(event[0], LEAST_NOISE), *self.size)
        self.from_condition = nn.Conv2d(condition[0], filters[0], 3, padding=1)
        self.from_noise = nn.Conv2d(self.noise_shape[0], filters[0], 3, padding=1, bias=False)
        widths = itertools.pairwise([*filters, event[0]])
        self.rest = nn.Sequential(*(part for pair in widths for part in (nn.SiLU(), nn.Conv2d(*pair, 3, padding=1))))

    def embed(self, condition: Float[Tensor, "B c h w"]) -> Float[Tensor, "B filters H W"]:
        return F.interpolate(self.from_condition(condition), self.size)

    def forward(self, embedded: Float[Tensor, "B filters H W"], noise: Float[Tensor, "B noise H W"]) -> Float[Tensor, "B C H W"]:
        local, whole = noise.chunk(2, dim=1)
        whole = whole.mean((2, 3), keepdim=True) * math.sqrt(math.prod(self.size))  # standard normal again
        return self.rest(embedded + self.from_noise(torch.cat([local, whole.expand_as(local)], 1)))
