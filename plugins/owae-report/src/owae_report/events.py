"""What a trained stack shows of itself: samples (Fig. 2a), its deepest latent on a grid (2b), reconstructions by level (3b).

All as events, in evaluation mode, and with the stack and torch's generators left as they were. `owae_report.blocks` lays them out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from owae.model.inference import evaluating
from owae.model.stack import Stack
from owae_report.room import require_room

_KEPT = 1000  # samples
_CHUNK = 256  # events decoded at once; part of what a seed means, since noise is drawn chunk by chunk


def draw_samples(stack: Stack, n: int, seed: int = 0) -> Float[Tensor, "{n} *x"]:
    """`n` ancestral samples (Eq. 1) of the model: noise at every latent level, the mean at the bottom.

    Raises:
        OwaeError: Memory cannot hold them; so do all functions here that are asked for a number of events.
    """
    require_room(n, stack.layers[0].in_shape, f"{n:,} samples")
    with evaluating(stack, seed):
        return torch.cat([stack.sample(min(_CHUNK, n - start)) for start in range(0, n, _CHUNK)])


class Draws:
    """The first samples of a stack under a seed, drawn once for all who look at them: fewer samples are the first of more.

    Args:
        stack: The stack.
        seed: Decides the draws.
    """

    def __init__(self, stack: Stack, seed: int = 0) -> None:
        self.stack, self.seed = stack, seed
        self._kept: Tensor | None = None

    def first(self, n: int) -> Float[Tensor, "{n} *x"]:
        """Returns what `draw_samples` does, on the CPU."""
        if self._kept is not None and n <= len(self._kept):
            return self._kept[:n]
        drawn = draw_samples(self.stack, n, self.seed).cpu()
        self._kept = drawn if n <= _KEPT else drawn[:_KEPT].clone()
        return drawn


def draw_of_class(stack: Stack, prior: Any, label: int, level: int, n: int, seed: int = 0) -> Float[Tensor, "{n} *x"]:
    """`n` samples of one class: draws of `prior.of_class(label, …)` at a level, then as `draw_samples`."""
    require_room(n, stack.layers[0].in_shape, f"{n:,} samples")
    with evaluating(stack, seed):
        counts = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)]
        return torch.cat([stack.decode(prior.of_class(label, count), level, sample=True) for count in counts])


def latent_plane(dimension: int, side: int, extent: float = 2.0, seed: int = 0) -> Float[Tensor, "rows {side} {dimension}"]:
    """Codes of a level on an even grid, in the order in which they are looked at.

    Two dimensions: `z[0]` runs rightwards and `z[1]` upwards, both over −extent…+extent; one dimension: a single row. With more
    dimensions the grid lies in a random plane through 0, spanned by two orthonormal directions that `seed` chooses. There the
    steps are longer, for a standard normal's draws lie about √d from 0: the grid is stretched so that at extent 2 its corner is at
    the quantile of the norm that it has in two dimensions (by Fisher: `√(2χ²_d)` is nearly normal about `√(2d − 1)`).

    Returns:
        (side, side, dimension), or (1, side, dimension) in one dimension.

    >>> latent_plane(2, 3)[0, 2], latent_plane(2, 3)[2, 0]
    (tensor([2., 2.]), tensor([-2., -2.]))
    """
    steps = torch.linspace(-extent, extent, side)
    if dimension == 1:
        return steps[None, :, None]
    plane = torch.stack(torch.meshgrid(steps, -steps, indexing="xy"), dim=-1)
    if dimension == 2:
        return plane
    generator = torch.Generator().manual_seed(seed)
    directions, _ = torch.linalg.qr(torch.randn(dimension, 2, generator=generator))
    corner = 2 * math.sqrt(2)
    stretch = 1 + (math.sqrt(2 * dimension - 1) - math.sqrt(3)) / math.sqrt(2) / corner
    return stretch * plane @ directions.T


def decode_plane(stack: Stack, side: int = 20, extent: float = 2.0, seed: int = 0) -> Float[Tensor, "rows {side} *x"]:
    """The decoders' means over a `latent_plane` of the deepest level, whose events may have any shape."""
    shape = tuple(stack.layers[-1].latent_shape)
    count = side ** min(2, math.prod(shape))
    require_room(count, stack.layers[0].in_shape, f"a grid of {count:,} points")
    plane = latent_plane(math.prod(shape), side, extent, seed)
    with evaluating(stack, seed) as device:
        codes = plane.flatten(0, 1).unflatten(1, shape).to(device, stack.prior.anchor.dtype)
        decoded = torch.cat([stack.decode(chunk) for chunk in codes.split(_CHUNK)])
    return decoded.unflatten(0, plane.shape[:2])


def reconstructions(stack: Stack, x: Float[Tensor, "n *x"]) -> list[Tensor]:
    """`x` and its reconstructions through levels 1 … N, by means: N + 1 tensors (n, *x), bottom first."""
    require_room(
        len(x) * len(stack.layers), x.shape[1:], f"reconstructions of {len(x):,} examples through {len(stack.layers)} levels,"
    )
    with evaluating(stack) as device:
        x = x.to(device)
        chunks = []
        for chunk in x.split(_CHUNK):
            codes = stack.encode(chunk)
            chunks.append([chunk, *(stack.decode(code, level) for level, code in enumerate(codes, start=1))])
    return [torch.cat(parts) for parts in zip(*chunks, strict=True)]
