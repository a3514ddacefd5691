"""Paths between encoded pairs (Figs. 5c and 8b): straight lines in a level's codes, decoded by means."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from owae.interfaces import DataSource
from owae.model.inference import evaluating
from owae.model.stack import Stack
from owae_report.errors import NotDrawableError
from owae_report.representatives import representative
from owae_report.room import require_room

_CHUNK = 256


def interpolate(
    stack: Stack, x: Float[Tensor, "n *x"], y: Float[Tensor, "n *x"], steps: int = 10, level: int | None = None
) -> Float[Tensor, "n {steps} *x"]:
    """Decodings by means along the straight line between the encoders' means of pairs.

    Args:
        stack: The stack, of which neither mode nor generators change.
        x: Where the paths begin.
        y: Where they end.
        steps: Points of a path, both ends among them: these are the reconstructions of x and y through the level.
        level: The level whose codes are joined, counted from 1; the deepest unless given.

    Raises:
        ValueError: A number is out of range, or x and y differ in shape.
        OwaeError: Memory cannot hold the paths.
    """
    level = stack.depth if level is None else level
    if not 1 <= level <= stack.depth:
        raise ValueError(f"level is {level}; this stack has levels 1 to {stack.depth}")
    if steps < 2 or x.shape != y.shape:
        raise ValueError(f"found {steps} steps between {tuple(x.shape)} and {tuple(y.shape)}; 2 or more between equal shapes work")
    require_room(len(x) * steps, tuple(x.shape[1:]), f"{len(x):,} paths of {steps:,} points")
    with evaluating(stack) as device:
        start, end = (torch.cat([stack.encode(chunk)[level - 1] for chunk in each.to(device).split(_CHUNK)]) for each in (x, y))
        # lerp gives both ends exactly.
        path = torch.stack([torch.lerp(start, end, weight) for weight in torch.linspace(0, 1, steps).tolist()], dim=1)
        decoded = torch.cat([stack.decode(chunk, level) for chunk in path.flatten(0, 1).split(_CHUNK)])
    return decoded.unflatten(0, path.shape[:2])


def pairs(source: DataSource, n: int, seed: int = 0) -> Int[Tensor, "pairs 2"]:
    """Places of `n` pairs of examples, all different; of fewer, where there are not so many.

    They are spread over the set; with labels a pair's classes differ where that is possible.

    Raises:
        NotDrawableError: There are fewer than two examples.
    """
    n = min(n, len(source) // 2)
    if not n:
        raise NotDrawableError(f"found {len(source)} examples; a path needs two, one at each end")
    # In the order of the classes: halfway along it stands another class, unless one has more than half of all.
    chosen = representative(2 * n, len(source), source.labels, seed)
    return torch.stack([chosen[:n], chosen[n:]], dim=1)
