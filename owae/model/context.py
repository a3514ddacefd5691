"""Says how an evaluation of a stack is carried out, apart from what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from owae.distributions import Distribution
from owae.interfaces import LatentLayer


def _encode(layer: LatentLayer, x: Tensor) -> Distribution:
    return layer.encode(x)


def _decode(layer: LatentLayer, z: Tensor) -> Distribution:
    return layer.decode(z)


def _draw(p: Distribution) -> Tensor:
    return p.rsample()


def _own(z: Tensor) -> Tensor:
    return z


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

    encode: Callable[[LatentLayer, Tensor], Distribution] = _encode
    decode: Callable[[LatentLayer, Tensor], Distribution] = _decode
    draw: Callable[[Distribution], Tensor] = _draw
    gather: Callable[[Tensor], Tensor] = _own
    check: bool = True


PLAIN = Context()
