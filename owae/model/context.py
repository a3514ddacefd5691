"""Says how an evaluation of a stack is carried out, apart from what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from owae.distributions import Distribution
from owae.interfaces import LatentLayer


@dataclass(frozen=True)
class Context:
    """Holds what a trainer hands to the forward pass; the defaults evaluate a stack as it is, in one process.

    Attributes:
        encode: Runs a layer's encoder: `q(z | x)`.
        decode: Runs a layer's decoder: `p(x | z)`.
        draw: Takes one draw a row of such a distribution, (B, *event).
        gather: Gives the matched codes of all processes that share a batch, from this one's.
        check: Whether the divergence reads its samples and refuses those that are not finite; a trainer looks at the terms instead.
    """

    encode: Callable[[LatentLayer, Tensor], Distribution] = lambda layer, x: layer.encode(x)
    decode: Callable[[LatentLayer, Tensor], Distribution] = lambda layer, z: layer.decode(z)
    draw: Callable[[Distribution], Tensor] = lambda p: p.rsample()
    gather: Callable[[Tensor], Tensor] = lambda z: z
    check: bool = True


PLAIN = Context()
