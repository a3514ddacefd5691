"""Cells of an `h5ad` file (anndata): vectors of the expression of genes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor

from owae.errors import DataError, suggestion
from owae.interfaces import DataSource
from owae_anndata.cells import Cells, Column, column, opened
from owae_anndata.preparation import Preparation, prepare
from owae_data.splits import hold_out

LABELS = ("cell_type", "celltype", "cell_types", "celltypes", "cell_ontology_class", "bulk_labels", "labels", "label")


class H5ad(DataSource):
    """Cells from an `h5ad` file, (genes,) float32, as its matrix has them unless asked otherwise.

    The matrix is read in blocks of cells. Where it is sparse it is held so, and batches are made dense. Genes are chosen, and means and
    deviations measured, on the cells to train on alone.

    Args:
        path: The file.
        matrix: "X", "raw" (that of `.raw`), or the name of a layer.
        normalise: Whether counts are scaled to 10,000 a cell and become `log(1 + x)`.
        standardise: Whether each gene is then brought to mean 0 and standard deviation 1, and held within ±10.
        genes: How many genes to keep, those of the largest variance before they are standardised; or "highly_variable", those that this
            column of the file's `var` marks; all of them unless given.
        labels: The column of `obs` that has the classes; unless given `cell_type` or another usual name, where there is one; false for
            none.
        batch: The column of `obs` that says which batch a cell is of. No batch effect is corrected: it is for the split.
        test_batches: The batches that are held out for testing; otherwise cells of each batch and class are held out alike.
        holdout: The share of cells to hold out.

    Attributes:
        ids: The cells' names.
        preparation: What is done with the matrix, the names of the genes included.
    """

    name = "h5ad"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        path: Path,
        matrix: str = "X",
        normalise: bool = False,
        standardise: bool = False,
        genes: PositiveInt | Literal["highly_variable"] | None = None,
        labels: str | Literal[False] | None = None,
        batch: str | None = None,
        test_batches: tuple[str, ...] = (),
        holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    ) -> None:
        cells = opened(path, matrix)
        classes = _classes(cells, labels)
        batches = None if batch is None else column(cells, batch)
        rows = _split(cells.place, len(cells), classes, batches, test_batches, holdout)
        marked = cells.marked(genes) if isinstance(genes, str) else None
        preparation, self._matrix, self.value_range = prepare(
            cells,
            rows,
            split,
            normalise=normalise,
            standardise=standardise,
            count=genes if isinstance(genes, int) else None,
            marked=marked,
        )
        self._fill(preparation, [cells.names[row] for row in rows[split].tolist()])
        if classes is not None:
            self.labels, self.class_names = classes.numbers[rows[split]], classes.names

    def _fill(self, preparation: Preparation, ids: list[str]) -> None:
        self.preparation, self.ids = preparation, ids
        self.shape = (len(preparation.genes),)
        count = len(preparation.genes)
        self.units = {"names": [*preparation.genes], "shift": [0.0] * count, "scale": [1.0] * count}  # for the names in figures

    @classmethod
    def prepared(cls, path: Path, matrix: str, preparation: Preparation, labels: str | Literal[False] | None) -> H5ad:
        """All cells of a file, brought to the genes and the scale of another.

        Raises:
            DataError: Genes are missing.
        """
        cells = opened(path, matrix)
        made = cls.__new__(cls)
        made._matrix, made.value_range = preparation.applied(cells)
        made._fill(preparation, cells.names)
        found = _classes(cells, labels if labels in cells.obs.columns else None)
        if labels is not False and found is not None:
            made.labels, made.class_names = found.numbers, found.names
        return made

    def __len__(self) -> int:
        return self._matrix.shape[0]

    def __getitem__(self, index: int) -> Tensor:
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return self.batch(torch.tensor([index]))[0]

    def batch(self, indices: Int[Tensor, " B"]) -> Float[Tensor, "B genes"]:
        block: Any = self._matrix[indices.numpy()]
        return torch.from_numpy(np.ascontiguousarray(block if isinstance(block, np.ndarray) else block.toarray()))


def of_run(run: Any, path: Path) -> H5ad:
    """Returns the cells of a file as the model of a run takes them: the same genes, by name, on the same scale.

    Raises:
        DataError: The run was trained on other data than an `h5ad` file, or genes are missing.
    """
    source = run.source("train")
    if not isinstance(source, H5ad):
        raise DataError(f"{path} holds cells, but {run.folder} was trained on '{run.config.data.kind}'")
    options = run.config.data.options
    return H5ad.prepared(path, options.matrix, source.preparation, options.labels)


def _classes(cells: Cells, labels: str | Literal[False] | None) -> Column | None:
    if labels is False:
        return None
    name = labels or next((name for name in LABELS if name in cells.obs.columns), None)
    return None if name is None else column(cells, name)


def _split(
    place: str, count: int, classes: Column | None, batches: Column | None, held: tuple[str, ...], holdout: float
) -> dict[str, Int[Tensor, " _"]]:
    if not held:
        strata = [each.numbers for each in (batches, classes) if each is not None]
        together = None if not strata else strata[0] if len(strata) == 1 else strata[0] * (int(strata[1].max()) + 2) + strata[1] + 1
        return hold_out(count, holdout, together)
    if batches is None:
        raise DataError("test_batches names batches; batch, the column of obs that has them, is missing")
    for name in held:
        if name not in batches.names:
            raise DataError(f"{place}: no batch is called '{name}'; {suggestion(name, batches.names)}")
    chosen = torch.tensor([batches.names.index(name) for name in held])
    is_test = torch.isin(batches.numbers, chosen)
    if is_test.all() or not is_test.any():
        raise DataError(
            f"{place}: test_batches are {'all' if is_test.all() else 'none'} of the cells; some must be left to train on"
        )
    return {"train": (~is_test).nonzero()[:, 0], "test": is_test.nonzero()[:, 0]}
