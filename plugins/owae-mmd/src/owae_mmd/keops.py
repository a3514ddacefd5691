"""Pair sums by KeOps: the kernel matrix is never stored, on GPUs and CPUs.

One formula serves everything, `Σ_j b_j (k(z_i, z_j), ∂k/∂z_i)`: a row's witness and its gradient in one reduction. KeOps compiles
it once for a kernel, a dimension, a number type and a device (seconds) and keeps it in its cache folder.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from owae.errors import PluginError
from owae.streams import quiet_stdout
from owae_mmd.compilers import cpp_compiler
from owae_mmd.kernels import Kernel, RationalQuadratic
from owae_mmd.pairs import Side, Weights, with_gradients

log = logging.getLogger(__name__)

INSTEAD = 'or set backend = "auto", which does without'


def obstacle() -> str:
    """Says why KeOps cannot be used, and what would help; empty if it can be tried. Imports nothing."""
    if importlib.util.find_spec("pykeops") is None:
        return "pykeops is not installed: pip install 'owae-mmd[keops]'"
    if cpp_compiler() is None:
        return "no C++ compiler was found, and KeOps compiles its formulas: install g++, or name a compiler in CXX"
    return ""


def evaluate(
    kernel: Kernel, z: Float[Tensor, "N d"], n: int, weights: Weights, graded: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "graded d"]]:
    """`V` of the first `n` points against the others, and its gradient in the first `graded`.

    Raises:
        PluginError: pykeops or a C++ compiler is missing, or KeOps failed.
    """
    if reason := obstacle():
        raise PluginError(f'backend "keops": {reason}; {INSTEAD}')
    x, y = z[:n], z[n:]
    value_x, gradient_x = _rows(kernel, x, z, _by_column(x, y, weights.x.within, -weights.x.across), weights.x)
    if not len(y):
        return value_x, gradient_x[:graded]
    value_y, gradient_y = _rows(kernel, y, z, _by_column(x, y, -weights.y.across, weights.y.within), weights.y)
    return value_x + value_y, torch.cat([gradient_x, gradient_y])[:graded]


pair_sum = with_gradients(evaluate)


def _rows(kernel: Kernel, rows: Tensor, columns: Tensor, by_column: Tensor, side: Side) -> tuple[Tensor, Tensor]:
    """One sample's part of `V`, and the gradient of the whole in its points."""
    reduced = _reduce(kernel, rows, columns, by_column)
    own = 0.0 if side.diagonal else side.within * kernel.at_zero
    return side.scale * (reduced[:, 0] - own).sum(), 2 * side.scale * reduced[:, 1:]


def _by_column(x: Tensor, y: Tensor, of_x: float, of_y: float) -> Tensor:
    return torch.cat([x.new_full((len(x), 1), of_x), y.new_full((len(y), 1), of_y)])


def _reduce(kernel: Kernel, rows: Tensor, columns: Tensor, by_column: Tensor) -> Tensor:
    parameters = rows.new_tensor(_parameters(kernel) or (1.0,))
    try:
        with quiet_stdout():  # KeOps prints when it is imported, and its compiler when it fails
            reduction = _reduction(kernel, rows.shape[1], rows.dtype, rows.device)
            return reduction(rows.contiguous(), columns, by_column, parameters)
    except Exception as error:  # KeOps' failures have no common class
        raise PluginError(
            f'backend "keops": KeOps failed ({type(error).__name__}: {error}); its cache folder (KEOPS_CACHE_FOLDER) must be writable '
            f"and have no space in its path; {INSTEAD}"
        ) from error


@lru_cache(maxsize=32)
def _reduction(kernel: Kernel, dimension: int, dtype: torch.dtype, device: torch.device) -> Any:
    log.info(
        "compiling… a KeOps formula for %s, %d dimensions, %s on %s, if its cache has none yet",
        type(kernel).__name__,
        dimension,
        dtype,
        device.type,
    )
    import pykeops
    from pykeops.torch import Genred

    pykeops.set_verbose(False)  # each compilation would print its formula, which has kilobytes

    count = len(_parameters(kernel))
    value = kernel.formula("SqDist(x, y)", [f"Elem(p, {i})" for i in range(count)])
    return Genred(
        f"b * Concat({value}, Grad({value}, x, IntCst(1)))",
        [f"x = Vi({dimension})", f"y = Vj({dimension})", "b = Vj(1)", f"p = Pm({max(count, 1)})"],
        reduction_op="Sum",
        axis=1,
    )


def _parameters(kernel: Kernel) -> tuple[float, ...]:
    return (*kernel.scales, kernel.alpha) if isinstance(kernel, RationalQuadratic) else kernel.scales
