"""An opened `h5ad` file: its matrix, block by block, the names of cells and genes, and columns about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from owae.errors import DataError, suggestion
from owae_data.base import quiet

BLOCK = 2000  # cells read at a time


@dataclass(frozen=True)
class Column:
    """Classes of cells.

    Attributes:
        numbers: One a cell; −1 for none.
        names: Their names.
    """

    numbers: Int[Tensor, " N"]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Cells:
    """An opened file.

    Attributes:
        place: How messages name it.
        matrix: Cells in rows, genes in columns: an array, or sparse; read when it is sliced.
        obs: What is known of the cells, a pandas table.
        var: What is known of the genes.
    """

    place: str
    matrix: Any
    obs: Any
    var: Any

    def __len__(self) -> int:
        return len(self.obs)

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self.obs.index]

    @property
    def genes(self) -> list[str]:
        return [str(name) for name in self.var.index]

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """Yields the first row of each block, and the block, dense or in rows (CSR), as float32.

        Raises:
            DataError: A block cannot be read, or holds something else than numbers.
        """
        from scipy import sparse

        for start in range(0, len(self), BLOCK):
            try:
                with quiet():
                    block = self.matrix[start : start + BLOCK]
                if sparse.issparse(block):
                    yield start, sparse.csr_matrix(block, dtype=np.float32)
                else:
                    yield start, np.asarray(block, dtype=np.float32)
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise DataError(f"{self.place}: cells from {start} on cannot be read ({error})") from error

    def marked(self, name: str) -> np.ndarray:
        """The genes that a column of `var` says yes to, as their places.

        Raises:
            DataError: There is no such column, or it says yes to none.
        """
        if name not in self.var.columns:
            raise DataError(
                f"{self.place}: var has no column '{name}'; {suggestion(name, map(str, self.var.columns))}, or genes = 2000"
            )
        marked = np.flatnonzero(np.asarray(self.var[name]).astype(bool))
        if not len(marked):
            raise DataError(f"{self.place}: '{name}' of var marks no gene")
        return marked


def imported() -> Any:
    """anndata, imported.

    Raises:
        DataError: It cannot be.
    """
    try:
        import anndata
    except ImportError as error:
        raise DataError(
            f"cells are read and written by anndata, which cannot be imported ({error}); pip install owae-anndata brings it"
        ) from error
    return anndata


def opened(path: Path, matrix: str) -> Cells:
    """Opens a file; of its matrix nothing is read yet, where it is X.

    Raises:
        DataError: It is missing or no `h5ad` file, or has no such matrix.
    """
    anndata = imported()
    if not path.is_file():
        raise DataError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; an .h5ad file is wanted")
    try:
        with quiet():
            data: Any = anndata.read_h5ad(path, backed="r")
    except Exception as error:  # whatever a foreign or damaged file leads h5py and anndata into
        raise DataError(f"{path} cannot be read as an .h5ad file ({error})") from error
    layers = [name for name in data.layers if name is not None]  # from anndata 0.13 on None stands for X
    x = _x(data)
    if matrix == "raw":
        if data.raw is None:
            raise DataError(f"{path} has no raw matrix; {_choices(layers, raw=False, x=x is not None)}")
        found, var = data.raw.X, data.raw.var
    elif matrix == "X":
        found, var = x, data.var
        if found is None:
            raise DataError(f"{path} has no X; {_choices(layers, raw=data.raw is not None, x=False)}")
    elif matrix in layers:
        found, var = data.layers[matrix], data.var
    else:
        raise DataError(f"{path} has no layer '{matrix}'; {_choices(layers, raw=data.raw is not None, x=x is not None)}")
    if getattr(found, "format", "csr") == "csc":  # in columns on the disk, where rows cannot be cut out
        with quiet():
            found = (found.to_memory() if hasattr(found, "to_memory") else found).tocsr()
    return Cells(str(path), found, data.obs, var)


def _x(data: Any) -> Any:
    """The matrix X; None where the file has none, for which anndata raises an error."""
    try:
        return data.X
    except KeyError:
        return None


def _choices(layers: list[str], *, raw: bool, x: bool = True) -> str:
    names = [*(["X"] if x else []), *(["raw"] if raw else []), *layers]
    return f"matrix takes one of: {', '.join(names) or 'none'}"


def column(cells: Cells, name: str) -> Column:
    """The classes in a column of `obs`.

    Raises:
        DataError: There is no such column, or it holds measurements.
    """
    if name not in cells.obs.columns:
        raise DataError(f"{cells.place}: obs has no column '{name}'; {suggestion(name, map(str, cells.obs.columns))}")
    values = cells.obs[name]
    if values.dtype.kind == "f" and values.nunique() > 50:
        raise DataError(f"{cells.place}: '{name}' of obs holds {values.nunique()} different numbers, so it is no column of classes")
    categories = values.astype("category").cat
    present = sorted({*categories.codes[categories.codes >= 0].tolist()})
    numbers = np.full(len(categories.categories) + 1, -1)
    numbers[present] = np.arange(len(present))
    return Column(torch.from_numpy(numbers[categories.codes]), tuple(str(categories.categories[code]) for code in present))
