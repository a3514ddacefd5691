"""Writes codes to an `h5ad` file: events of every level in `obsm`, what is one number a cell in `obs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from owae_anndata.cells import imported
from owae_data.base import quiet


def write(path: Path, blocks: Iterable[Mapping[str, np.ndarray]], count: int) -> None:
    """Writes blocks of columns, `count` rows in all.

    `z1_mean` becomes `obsm["X_z1"]`, as scanpy looks for embeddings; other columns of events keep their names; `id` names the cells.
    """
    anndata = imported()
    import pandas

    columns: dict[str, np.ndarray] = {}
    at = 0
    for block in blocks:
        for name, values in block.items():
            flat = values.reshape(len(values), -1) if values.ndim > 1 else values
            if name not in columns:
                columns[name] = np.empty((count, *flat.shape[1:]), dtype=object if flat.dtype.kind in "UO" else flat.dtype)
            columns[name][at : at + len(values)] = flat
        at += len(next(iter(block.values())))
    names = [str(name) for name in columns.pop("id", np.arange(count))]
    events = {name: values for name, values in columns.items() if values.ndim > 1}
    obs = pandas.DataFrame({name: values for name, values in columns.items() if values.ndim == 1}, index=pandas.Index(names))
    obsm: Any = {_key(name): values for name, values in events.items()}
    with quiet():
        data = anndata.AnnData(obs=obs, obsm=obsm, shape=(count, 0))
        data.write_h5ad(path)


def _key(name: str) -> str:
    return f"X_{name.removesuffix('_mean')}" if name.endswith("_mean") else name
