"""Cells from `h5ad` files: what is read, what is done with it, and codes written back."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from runs import run
from scipy import sparse

from owae import Config, Registry
from owae.data.loader import Loader
from owae.data.sources import examples
from owae.errors import DataError
from owae.run.train import train
from owae.testing import check_source
from owae_anndata.source import H5ad
from owae_report.cli import encode

CELLS, GENES = 90, 12


@pytest.fixture(scope="module")
def table() -> Any:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1, 3, GENES) * (1 + 5 * (np.arange(CELLS) % 3 == 1))[:, None]).astype(np.float32)
    counts += np.arange(CELLS)[:, None] % 2  # no cell without a count
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.array(["B", "T", "NK"])[np.arange(CELLS) % 3], categories=["unused", "T", "NK", "B"]),
            "donor": [f"d{i % 4}" for i in range(CELLS)],
            "depth": rng.random(CELLS),
        },
        index=pd.Index([f"cell-{i}" for i in range(CELLS)]),
    )
    var = pd.DataFrame({"highly_variable": np.arange(GENES) % 2 == 0}, index=pd.Index([f"gene-{i}" for i in range(GENES)]))
    data = anndata.AnnData(sparse.csr_matrix(counts), obs, var, layers={"dense": counts * 2, "columns": sparse.csc_matrix(counts)})
    data.raw = data
    return data


@pytest.fixture(scope="module")
def path(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    table.write_h5ad(place)
    return place


OPTIONS = [
    {},
    {"matrix": "raw", "normalise": True, "standardise": True, "genes": 5},
    {"matrix": "dense", "normalise": True},
    {"matrix": "columns", "genes": "highly_variable", "labels": "donor"},
    {"batch": "donor", "test_batches": ("d1", "d3"), "labels": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_contract(path: Path, options):
    check_source(H5ad, path=path, **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_read_by_a_spawned_worker_and_goes_on_with_the_same_batches(path: Path, options, worker: ProcessPoolExecutor):
    source, anew = H5ad("train", path=path, **options), H5ad("train", path=path, **options)
    rows = torch.arange(len(source))
    assert torch.equal(worker.submit(methodcaller("batch", rows), source).result(timeout=900), source.batch(rows))
    whole = [*Loader(source, 4, seed=1).epoch(2)]
    assert all(torch.equal(one, other) for one, other in zip(whole[1:], Loader(anew, 4, seed=1).epoch(2, start=1), strict=True))


def counts(table: Any, source: H5ad) -> np.ndarray:
    return table[source.ids].X.toarray()


def test_what_is_read_is_what_the_file_holds(table: Any, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("owae_anndata.cells.BLOCK", 7)
    sources = [H5ad(split, path=path) for split in ("train", "test")]
    assert sorted([*sources[0].ids, *sources[1].ids]) == sorted(table.obs_names)
    for source in sources:
        np.testing.assert_array_equal(examples(source), counts(table, source))
        assert source.class_names == ("T", "NK", "B")  # as the file orders them, but for one that no cell has
        assert source.labels is not None
        names: Any = source.class_names
        assert [names[number] for number in source.labels] == list(table.obs.cell_type[source.ids])
    columns = H5ad("train", path=path, matrix="columns")
    np.testing.assert_array_equal(examples(columns), counts(table, columns))


def test_normalised_and_standardised_by_the_cells_to_train_on(table: Any, path: Path):
    options = {"normalise": True, "standardise": True, "genes": 5}
    seen, held = H5ad("train", path=path, **options), H5ad("test", path=path, **options)
    logs = [np.log1p(x / x.sum(1, keepdims=True) * 1e4) for x in (counts(table, seen), counts(table, held))]
    kept = np.sort(np.argsort(-logs[0].var(0))[:5])
    assert seen.preparation.genes == tuple(table.var_names[kept])
    mean, std = logs[0][:, kept].mean(0), logs[0][:, kept].std(0)
    for source, log in zip((seen, held), logs, strict=True):
        np.testing.assert_allclose(examples(source), (log[:, kept] - mean) / std, atol=2e-4)
    assert seen.value_range == held.value_range


def test_batches_are_held_out_whole_or_in_equal_shares(path: Path, table: Any):
    held = H5ad("test", path=path, batch="donor", test_batches=("d2",))
    assert {*table.obs.donor[held.ids]} == {"d2"}
    shared = H5ad("test", path=path, batch="donor", holdout=0.2)
    assert table.obs.donor[shared.ids].value_counts().tolist() == pytest.approx([4.5] * 4, abs=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": Path("none.h5ad")}, "does not exist"),
        ({"path": Path(__file__)}, "cannot be read as an .h5ad file"),
        ({"matrix": "densse"}, "no layer 'densse'; matrix takes one of: X, raw, columns, dense"),
        ({"labels": "celltype"}, "no column 'celltype'; did you mean 'cell_type'"),
        ({"labels": "depth"}, "90 different numbers"),
        ({"genes": 13}, "has 12 genes"),
        ({"batch": "donor", "test_batches": ("d9",)}, "no batch is called 'd9'"),
        ({"test_batches": ("d9",)}, "batch, the column of obs that has them, is missing"),
    ],
    ids=str,
)
def test_what_is_not_there_is_said(path: Path, options, words):
    with pytest.raises(DataError, match=words):
        H5ad("train", **{"path": path, **options})


def test_values_that_cannot_be_normalised_are_refused(tmp_path: Path):
    anndata.AnnData(np.random.default_rng(0).standard_normal((9, 3), dtype=np.float32)).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(DataError, match="negative values"):
        H5ad("train", path=tmp_path / "x.h5ad", normalise=True)


CONFIG = """
[data]
kind = "h5ad"
path = "{path}"
genes = 8
normalise = true

[[levels]]
layer = {{ kind = "mlp", latent = 3, hidden = [8] }}

[[levels]]
layer = {{ kind = "mlp", latent = 2, hidden = [8] }}

[weights]
reconstruction = 0.5
match = 1.0

[divergence]
kind = "mmd"

[train]
epochs = 2
batch_size = 32
"""


def test_every_level_is_written_to_obsm_for_cells_of_any_file(path: Path, table: Any, tmp_path: Path):
    (tmp_path / "cells.toml").write_text(CONFIG.format(path=path))
    registry = Registry.discover(["owae-layers", "owae-mmd", "owae-anndata"])
    trained = train(Config.load(tmp_path / "cells.toml", registry), registry, out=tmp_path / "run")
    other = table[:20, ::-1].copy()  # genes in another order are found by their names
    other.write_h5ad(tmp_path / "other.h5ad")
    result = run(encode, trained.folder, tmp_path / "other.h5ad", "-o", tmp_path / "out.h5ad")
    assert result.exit_code == 0, result.exception
    written: Any = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert list(written.obs_names) == list(other.obs_names)
    seen: Any = trained.source("train")
    places = [other.obs_names.get_loc(name) for name in seen.ids if name in other.obs_names]
    rows = torch.tensor([i for i, name in enumerate(seen.ids) if name in other.obs_names])
    for level, codes in enumerate(trained.model.encode(examples(seen, rows)), start=1):
        np.testing.assert_allclose(written.obsm[f"X_z{level}"][places], codes.detach(), rtol=1e-4, atol=1e-5)
    table[:5, 3:].copy().write_h5ad(tmp_path / "few.h5ad")
    missing = [name for name in seen.preparation.genes if name in table.var_names[:3]]
    if missing:
        assert f"lacks {len(missing)} of the 8 genes" in str(
            run(encode, trained.folder, tmp_path / "few.h5ad", "-o", tmp_path / "o.h5ad").exception
        )


def test_a_file_without_x_names_what_it_has(table: Any, tmp_path: Path):
    made = anndata.AnnData(None, table.obs, table.var, layers={"counts": table.X})
    made.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(DataError, match="has no X; matrix takes one of: counts"):
        H5ad("train", path=tmp_path / "x.h5ad")
    with pytest.raises(DataError, match="has no raw matrix; matrix takes one of: counts"):
        H5ad("train", path=tmp_path / "x.h5ad", matrix="raw")
    assert H5ad("train", path=tmp_path / "x.h5ad", matrix="counts").shape == (GENES,)
