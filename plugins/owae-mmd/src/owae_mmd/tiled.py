"""Sums over pairs tile by tile: value and gradient in one pass, in memory O(n).

The points `z = (x, y)` are taken together. Each block of rows meets the columns from its own first one onwards, so every pair is
met once and serves its row and its column. With `S = w · k'(u)` on a tile, the gradient is `∂V/∂z_i = 4a Σ_j S_ij (z_i − z_j)` from the
tile's rows and the same with `Sᵀ` from its columns: two matrix products with `(z, 1)`, summed up as `(Σ S z, Σ S)`. Slopes are computed
only where a gradient is asked for, so pairs among prior draws cost their values alone. A small sample is one block (`owae_mmd.block`).

On a CPU plain torch is fast as long as a few tiles stay in the second-level cache. Compiled, a tile is
about twice as fast again but takes several seconds once, so it is done for large samples only; on a GPU, where operations
wait for memory, wherever there is more than one block.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from owae.compilation import compiled
from owae_mmd import block
from owae_mmd.compilers import obstacle
from owae_mmd.distances import Points, exact_products, prepare, squared_distances
from owae_mmd.kernels import Kernel
from owae_mmd.pairs import Weights, with_gradients


class Sizes(NamedTuple):
    """Rows and columns of a tile, and how many points are few enough for one block or many enough to compile for."""

    rows: int
    columns: int
    one_block: int
    compiled_from: int
    compiled_rows: int
    compiled_columns: int


def sizes(device: torch.device) -> Sizes:
    """The sizes for a device; none depends on the data, so that the same run takes the same path each time."""
    if device.type == "cpu":
        return Sizes(256, 256 * min(torch.get_num_threads(), 8), 512, 8192, 512, 1024)
    return Sizes(2048, 4096, 2048, 2049, 2048, 4096)


def compiles_for(count: int, device: torch.device) -> bool:
    """Tells whether so many points are worth compiling for, and a compiler is there."""
    return count >= sizes(device).compiled_from and not obstacle(device)


def evaluate(
    kernel: Kernel, z: Float[Tensor, "N d"], n: int, weights: Weights, graded: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "graded d"]]:
    """`V` of the first `n` points against the others, and its gradient in the first `graded`."""
    points = prepare(kernel, z)
    with exact_products():
        method = block.evaluate if len(z) <= sizes(z.device).one_block else sum_tiles
        return method(kernel, points, n, weights, graded)


pair_sum = with_gradients(evaluate)


def sum_tiles(
    kernel: Kernel, points: Points, n: int, weights: Weights, graded: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "graded d"]]:
    """`V` of the first `n` points against the others, and its gradient in the first `graded`: none, those `n`, or all."""
    left, right = points.left, points.right
    witness = _own_pairs(kernel, left, n, weights)
    sums = left.new_zeros(graded, left.shape[1] - 1)
    affine = left[:, :-1]  # (z, 1)
    compiles = compiles_for(len(left), left.device)
    for tile in _tiles(left, n, weights, compiles):
        rows, columns = tile.rows, tile.columns
        slopes = rows.start < graded
        weighted = (tile.by_row, tile.by_column, tile.by_slope)
        # Values alone are quick enough, and not worth a second compilation.
        if not (compiles and slopes):
            by_row, by_column, slope = mmd_sums(kernel, points.between(rows, columns), *weighted, slopes)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's compiler warns about its own parts
                if points.mended:
                    by_row, by_column, slope = _compiled_sums(kernel, points.between(rows, columns), *weighted, slopes)
                else:
                    pairs = (points.direct, points.rounded, left[rows], right[columns])
                    by_row, by_column, slope = _compiled_tile(kernel, *pairs, *weighted, slopes)
        witness[rows] += by_row
        witness[columns] += by_column
        if slope is None:
            continue
        sums[rows].addmm_(slope, affine[columns])
        last = min(columns.stop, graded)
        if columns.start < last:
            sums[columns.start : last].addmm_(slope[:, : last - columns.start].T, affine[rows])
    value = weights.x.scale * witness[:n].sum() + weights.y.scale * witness[n:].sum()
    return value, block.combine(points, sums, weights)


def mmd_sums(
    kernel: Kernel, u: Tensor, by_row: Tensor, by_column: Tensor, by_slope: Tensor, slopes: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns the tile's weighted sums over rows and over columns, and `S`. Its name is what messages of the compiler say."""
    value, slope = kernel.evaluate(u, slopes=slopes)
    return torch.mv(value, by_row), value.sum(0).mul_(by_column), None if slope is None else slope.mul_(by_slope)


def mmd_tile(
    kernel: Kernel,
    direct: bool,
    rounded: bool,
    left: Tensor,
    right: Tensor,
    by_row: Tensor,
    by_column: Tensor,
    by_slope: Tensor,
    slopes: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns the same for a tile's points: compiled, distances and kernel are one pass."""
    return mmd_sums(kernel, squared_distances(left, right, direct, rounded), by_row, by_column, by_slope, slopes)


_compiled_tile, _compiled_sums = compiled(mmd_tile, dynamic=True), compiled(mmd_sums, dynamic=True)


def _own_pairs(kernel: Kernel, points: Tensor, n: int, weights: Weights) -> Tensor:
    """Returns what the rows start from: minus the pairs of each point with itself where the tiles should have left them out."""
    witness = points.new_zeros(len(points))
    for rows, side in ((witness[:n], weights.x), (witness[n:], weights.y)):
        if not side.diagonal:
            rows.fill_(-side.within * kernel.at_zero)
    return witness


class _Tile(NamedTuple):
    """Rows and columns of a tile, with a weight a column for the sums over rows and over columns and for the slopes."""

    rows: slice
    columns: slice
    by_row: Tensor
    by_column: Tensor
    by_slope: Tensor


def _tiles(points: Tensor, n: int, weights: Weights, compiles: bool) -> Iterator[_Tile]:
    size = sizes(points.device)
    height, width = (size.compiled_rows, size.compiled_columns) if compiles else (size.rows, size.columns)
    total = len(points)
    x, y = weights.x, weights.y
    by_row = torch.cat([points.new_full((n,), x.within), points.new_full((total - n,), -x.across)])
    by_column = torch.cat([by_row[:n], points.new_full((total - n,), -y.across)])
    within_y = points.new_full((total,), y.within)
    # Gradients are kept in units of the first sample's scale.
    slope_y = within_y * (y.scale / x.scale)
    for low, high, of_columns in ((0, n, (by_row, by_column, by_row)), (n, total, (within_y, within_y, slope_y))):
        for start in range(low, high, height):
            rows = slice(start, min(start + height, high))
            for first in range(start, total, width):
                columns = slice(first, min(first + width, total))
                yield _Tile(rows, columns, *(_halve(weight[columns], rows.stop - first) for weight in of_columns))


def _halve(weight: Tensor, count: int) -> Tensor:
    """Halves the first `count` weights: pairs among a block's own rows stand on both sides of the diagonal."""
    if count <= 0:
        return weight
    weight = weight.clone()
    weight[:count] *= 0.5
    return weight
