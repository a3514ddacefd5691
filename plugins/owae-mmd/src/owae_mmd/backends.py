"""Chooses a backend: a way of summing over pairs. All compute the same number (`owae_mmd.pairs`)."""

from __future__ import annotations

import torch

from owae_mmd import dense, keops, tiled
from owae_mmd.pairs import PairSum

PAIR_SUMS: dict[str, PairSum] = {"dense": dense.pair_sum, "tiled": tiled.pair_sum, "keops": keops.pair_sum}


def choose(asked: str, count: int, device: torch.device) -> tuple[str, str]:
    """Chooses the backend for so many points in both samples together, and says why."""
    if asked != "auto":
        return asked, "asked for"
    if count <= tiled.sizes(device).one_block:
        return "tiled", "the points fit one block"
    if tiled.compiles_for(count, device):
        return "tiled", f"{count:,} points, tiles run by torch.compile, which takes seconds once a process"
    if device.type == "cuda" and not keops.obstacle():
        return "keops", f"{count:,} points on a GPU, and no compiler for tiles"
    return "tiled", f"{count:,} points in tiles of plain torch"
