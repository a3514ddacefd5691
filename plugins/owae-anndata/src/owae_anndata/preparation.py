"""What is done with a matrix of expression: normalised, genes chosen, standardised; measured on some cells and applied to any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from owae.errors import DataError
from owae_anndata.cells import Cells

TOTAL = 1e4  # counts that a cell is scaled to
WITHIN = 10.0  # standard deviations that standardised values are held to


@dataclass(frozen=True)
class Preparation:
    """A recipe.

    Attributes:
        genes: The names of the genes, in order.
        normalise: Whether counts are scaled to 10,000 a cell and become `log(1 + x)`.
        mean: The genes' means, where they are standardised; else None.
        std: Their standard deviations.
    """

    genes: tuple[str, ...]
    normalise: bool
    mean: np.ndarray | None = None
    std: np.ndarray | None = None

    def normalised(self, block: Any, place: str) -> Any:
        """A block of all genes, normalised if wanted."""
        data = block if isinstance(block, np.ndarray) else block.data
        if not np.isfinite(data).all():
            raise DataError(f"{place} holds values that are not finite; leave such cells out, or put numbers in")
        if not self.normalise:
            return block
        if data.size and data.min() < 0:
            raise DataError(f"{place} holds negative values, so these are no counts that could be normalised; normalise = false")
        totals = np.asarray(block.sum(1), dtype=np.float32).reshape(-1, 1)
        factors = TOTAL / np.where(totals > 0, totals, 1)
        if not isinstance(block, np.ndarray):
            from scipy import sparse

            scaled: Any = sparse.csr_matrix(block.multiply(factors), dtype=np.float32)
            return scaled.log1p()
        return np.log1p(block * factors)

    def scaled(self, block: Any) -> Any:
        """A block of the chosen genes, standardised if wanted."""
        if self.mean is None or self.std is None:
            return block
        dense = block if isinstance(block, np.ndarray) else block.toarray()
        return np.clip((dense - self.mean) / self.std, -WITHIN, WITHIN).astype(np.float32)

    def applied(self, cells: Cells) -> tuple[Any, tuple[float, float]]:
        """All cells of a file, and their range.

        Raises:
            DataError: Genes are missing.
        """
        places = {name: i for i, name in enumerate(cells.genes)}
        if missing := [name for name in self.genes if name not in places]:
            raise DataError(f"{cells.place} lacks {len(missing)} of the {len(self.genes)} genes, as {', '.join(missing[:5])}")
        chosen = np.array([places[name] for name in self.genes])
        parts = [self.scaled(self.normalised(block, cells.place)[:, chosen]) for _, block in cells.blocks()]
        return _stacked(parts), _range(parts)


def prepare(
    cells: Cells,
    rows: dict[str, Tensor],
    split: str,
    *,
    normalise: bool,
    standardise: bool,
    count: int | None,
    marked: np.ndarray | None,
) -> tuple[Preparation, Any, tuple[float, float]]:
    """Returns the preparation measured on the cells to train on, the cells of one split prepared, and the range of both splits.

    Args:
        cells: The file.
        rows: The cells of each split.
        split: Which to return.
        normalise: Whether counts are normalised.
        standardise: Whether genes are standardised.
        count: How many genes to keep, those of the largest variance.
        marked: Genes to keep, by their places.

    Raises:
        DataError: The matrix holds something else than finite numbers, or there are not so many genes.
    """
    names = cells.genes
    if count is not None and count > len(names):
        raise DataError(f"{cells.place} has {len(names)} genes; genes = {count} cannot be kept")
    recipe = Preparation((), normalise)
    train = np.zeros(len(cells), dtype=bool)
    train[rows["train"].numpy()] = True
    chosen = np.arange(len(names)) if marked is None else marked
    mean = variance = None
    if count is not None or standardise:
        mean, variance = _moments(cells, recipe, train)
        if count is not None:
            chosen = np.sort(np.argsort(-variance, kind="stable")[:count])
    if standardise and mean is not None and variance is not None:
        std = np.sqrt(variance[chosen])
        recipe = replace(recipe, mean=mean[chosen].astype(np.float32), std=np.where(std > 0, std, 1).astype(np.float32))
    recipe = replace(recipe, genes=tuple(names[place] for place in chosen))
    own = train if split == "train" else ~train
    parts, ranges = [], []
    for start, block in cells.blocks():
        part = recipe.scaled(recipe.normalised(block, cells.place)[:, chosen])
        parts.append(part[own[start : start + part.shape[0]]])
        ranges.append(_range([part]))
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return recipe, _stacked(parts), (low, high if high > low else low + 1)


def _moments(cells: Cells, recipe: Preparation, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = squares = np.zeros(len(cells.genes))
    for start, block in cells.blocks():
        part = recipe.normalised(block, cells.place)[train[start : start + block.shape[0]]]
        total = total + np.asarray(part.sum(0, dtype=np.float64)).ravel()
        power = np.square(part, dtype=np.float64) if isinstance(part, np.ndarray) else part.power(2)
        squares = squares + np.asarray(power.sum(0, dtype=np.float64)).ravel()
    count = int(train.sum())
    mean = total / count
    return mean, np.clip(squares / count - np.square(mean), 0, None)


def _stacked(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts).astype(np.float32, copy=False)
    from scipy import sparse

    whole: Any = sparse.vstack(parts, format="csr")
    return whole.astype(np.float32, copy=False)


def _range(parts: list[Any]) -> tuple[float, float]:
    return min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
