"""Optimal transport on lines: one line a column."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

MOST_THREADS = 8  # of torch, up to which numpy sorts


def flatten_and_centre(x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Flattens the events of both clouds, and moves them by one vector to near the origin, where numbers have the most digits."""
    x, y = x.flatten(1), y.flatten(1)
    centre = torch.cat([x.detach(), y.detach()]).mean(0)
    return x - centre, y - centre


def directions(dimension: int, count: int, like: Tensor) -> Float[Tensor, "{dimension} {count}"]:
    """Random unit vectors, one a column, each uniform on the sphere; orthogonal in blocks of `dimension`.

    Orthogonal directions repeat each other less than independent ones (Rowland et al. 2019): over a whole block the mean of
    `(θ·t)²` is `‖t‖²/d` exactly.
    """
    blocks = math.ceil(count / dimension)
    gaussian = torch.randn(blocks, dimension, min(count, dimension), device=like.device, dtype=like.dtype)
    # A QR decomposition's signs are not uniform, but a line is the same both ways.
    return torch.linalg.qr(gaussian).Q.transpose(0, 1).flatten(1)[:, :count]


def coupling(n: int, m: int, like: Tensor) -> tuple[Int[Tensor, " s"], Int[Tensor, " s"], Float[Tensor, " s"]]:
    """The optimal plan between n and m sorted points of equal weight: rows of the one, rows of the other, mass moved between them.

    Both quantile functions are steps, at multiples of 1/n and of 1/m; between two neighbouring steps of either, one point goes to
    one point. There are n + m such pieces, some of them empty, or n where n = m.
    """
    if n == m:
        rows = torch.arange(n, device=like.device)
        return rows, rows, torch.full((n,), 1 / n, device=like.device, dtype=like.dtype)
    steps = [torch.arange(1, k + 1, device=like.device) * other for k, other in ((n, m), (m, n))]
    ends = torch.cat(steps).sort().values  # in units of 1/(n m)
    mass = torch.diff(ends, prepend=ends.new_zeros(1)).to(like.dtype) / (n * m)
    return (ends - 1) // m, (ends - 1) // n, mass


def ordered(x: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Each column sorted, ascending; differentiable.

    On a CPU of few threads numpy sorts: it takes a third to a tenth of the time of torch's sort, which alone spreads over threads.
    """
    if x.device.type != "cpu" or torch.get_num_threads() > MOST_THREADS or torch.compiler.is_compiling():
        return x.sort(0).values
    columns = x.detach().T.contiguous().numpy()
    if not x.requires_grad:
        return torch.from_numpy(np.sort(columns)).T
    return x.T.gather(1, torch.from_numpy(np.argsort(columns))).T


def transport(x: Float[Tensor, "n k"], y: Float[Tensor, "m k"]) -> Float[Tensor, " k"]:
    """`W₂²` between the empirical measures of x and y in each column, exact for any n and m.

    >>> transport(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [2.0], [1.0]]))
    tensor([2.5000])
    """
    x, y = ordered(x), ordered(y)
    if len(x) == len(y):
        return (x - y).square().mean(0)
    i, j, mass = coupling(len(x), len(y), x)
    return mass @ (x[i] - y[j]).square()
