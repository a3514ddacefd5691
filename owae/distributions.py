"""The two conditional distributions a level needs, by their first two moments.

The engine draws from a distribution and costs take its mean and variance; nothing else is asked of one, so anything with
these three members can stand in. Moments are float32 at least, whatever precision the networks run in.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Bounds on the logit before the softplus: the lower keeps the variance above zero (softplus(-20) = 2e-9), so its square root and
# logarithm have finite gradients; the upper only stops an overflow.
LOGIT_BOUNDS = (-20.0, 500.0)


@runtime_checkable
class Distribution(Protocol):
    """A distribution over events, one per row of a batch, with its coordinates' means and variances.

    One whose moments take long to compute can tell the `shape` of a draw, (B, *event), as an attribute: see `shape_of`.
    """

    @property
    def mean(self) -> Tensor:
        """Means, (B, *event)."""
        ...

    @property
    def variance(self) -> Tensor:
        """Variances of the coordinates, (B, *event); zero for a deterministic map."""
        ...

    def rsample(self) -> Tensor:
        """One draw per row, (B, *event), differentiable with respect to the moments."""
        ...


class Gaussian:
    """A diagonal Gaussian with the given mean and variance, both (B, *event); variances must be positive."""

    def __init__(self, mean: Float[Tensor, "batch *event"], variance: Float[Tensor, "batch *event"]) -> None:
        self.mean = at_least_float32(mean)
        self.variance = at_least_float32(variance)

    @classmethod
    def from_network(cls, output: Float[Tensor, "batch doubled *rest"]) -> Gaussian:
        """Splits a network's output in two along its first event axis: mean, then logits of the variance.

        The variance is `softplus(clip(logit, -20, 500))`, as in the authors' code.

        >>> q = Gaussian.from_network(torch.zeros(3, 8))
        >>> q.mean.shape, round(q.variance[0, 0].item(), 4)
        (torch.Size([3, 4]), 0.6931)
        """
        mean, logit = at_least_float32(output).chunk(2, dim=1)
        return cls(mean, F.softplus(logit.clamp(*LOGIT_BOUNDS)))

    def rsample(self) -> Tensor:
        # Numbers are drawn in the order of memory: so an event's noise does not depend on how its channels lie there.
        noise = torch.randn_like(self.mean, memory_format=torch.contiguous_format)
        return self.mean + self.variance.sqrt() * noise


class Dirac:
    """A deterministic map's output, (B, *event), as a distribution of variance zero."""

    def __init__(self, mean: Float[Tensor, "batch *event"]) -> None:
        self.mean = at_least_float32(mean)

    @property
    def variance(self) -> Tensor:
        return self.mean.new_zeros(()).expand_as(self.mean)

    def rsample(self) -> Tensor:
        return self.mean


def shape_of(p: Distribution) -> torch.Size:
    """Returns the shape of a draw, (B, *event): what the distribution says, else that of its mean."""
    return p.shape if hasattr(p, "shape") else p.mean.shape  # pyright: ignore[reportAttributeAccessIssue]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns the tensor itself if float32 or wider, else its float32 copy."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
