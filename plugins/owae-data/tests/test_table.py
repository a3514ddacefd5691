"""Tables of numbers, series and pictures, in every format, whole and in shards; and what is wrong in them, told by its place."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import csv, feather, ipc, parquet

from owae import Registry
from owae.config.config import Config
from owae.errors import DataError
from owae.run.opened import open_run
from owae.run.train import train
from owae_data.tables.source import Table

HUB = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def _numbers(count: int = 12, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    kind = [("rose", "iris")[row % 2] for row in range(count)]
    return {"id": range(count), "x1": rng.normal(5, 3, count), "x2": rng.integers(0, 9, count), "kind": kind, "ok": [True] * count}


def _write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, *, stream: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table: Any = pa.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=4)
    elif path.suffix == ".csv":
        csv.write_csv(table, path)
    elif stream:
        with ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=5)
    else:
        feather.write_feather(table, path)
    return path


def _png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def _all(source: Table) -> torch.Tensor:
    return source.batch(torch.arange(len(source)))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".stream.arrow"])
def test_every_format_gives_the_same(tmp_path: Path, suffix: str) -> None:
    columns = _numbers()
    path = _write(tmp_path / f"t{suffix}", columns, stream="stream" in suffix)
    train, test = (Table(split, path=path, label="kind", holdout=0.4) for split in ("train", "test"))
    assert train.shape == (3,)  # x1, x2 and ok: an id is no measurement
    assert train.class_names == test.class_names == ("iris", "rose")
    assert test.labels is not None
    assert sorted(test.labels.tolist()) == [0, 0, 1, 1, 1]
    found = sorted([*_all(train).tolist(), *_all(test).tolist()])
    assert np.allclose(found, sorted(np.stack([columns["x1"], columns["x2"], columns["ok"]], 1).tolist()))


def test_columns_are_chosen_by_names_and_patterns_in_their_order(tmp_path: Path) -> None:
    columns = {**_numbers(), "label": [0, 1] * 6}
    path = _write(tmp_path / "t.parquet", columns)
    source = Table("train", path=path, columns=["ok", "x*"])
    assert torch.allclose(source[0], torch.tensor([1.0, columns["x1"][0], columns["x2"][0]], dtype=torch.float32))
    assert source.labels is not None
    assert Table("train", path=path, columns=["[xl]*"]).shape == (2,)  # a pattern does not take the classes
    assert Table("train", path=path, columns=["label"]).shape == (1,)  # a name does


def test_standardised_by_the_training_rows_alone(tmp_path: Path) -> None:
    columns = {**_numbers(), "flat": [7.0] * 12}
    train = _write(tmp_path / "train.csv", {name: values[:8] for name, values in columns.items()})
    test = _write(tmp_path / "other.csv", {name: values[8:] for name, values in columns.items()})
    first, second = (
        Table(split, path=train, test_path=test, columns=["x1", "x2", "flat"], standardise=True) for split in ("train", "test")
    )
    raw = np.stack([columns["x1"], columns["x2"], columns["flat"]], 1).astype(np.float64)
    shift, scale = raw[:8].mean(0), np.where(raw[:8].std(0) > 0, raw[:8].std(0), 1)
    assert np.allclose(_all(first), (raw[:8] - shift) / scale, atol=1e-5)
    assert np.allclose(_all(second), (raw[8:] - shift) / scale, atol=1e-5)
    assert first.value_range == second.value_range
    assert first.units == second.units
    assert first.units is not None
    assert first.units["names"] == ["x1", "x2", "flat"]
    assert np.allclose(_all(second).numpy() * first.units["scale"] + first.units["shift"], raw[8:], atol=1e-5)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 6), pa.large_list(pa.int16())])
def test_a_column_of_lists_is_a_series(tmp_path: Path, kind: pa.DataType) -> None:
    series = np.random.default_rng(0).integers(0, 9, (10, 6))
    path = _write(tmp_path / "t.parquet", {"name": ["a"] * 10, "series": pa.array(series.tolist(), kind), "y": [0, 1] * 5})
    train, test = (Table(split, path=path) for split in ("train", "test"))
    assert train.shape == (6,)
    found = torch.cat([_all(train), _all(test)])
    assert sorted(found.tolist()) == sorted(series.astype(float).tolist())
    both = Table("train", path=path, columns=["y", "series"], standardise=True)
    assert both.shape == (7,)
    assert both.units is not None
    assert both.units["names"][:2] == ["y", "series[0]"]
    assert len({*both.units["scale"][1:]}) == 1  # one column, one scale


def test_a_column_of_lists_goes_before_numbers_beside_it_and_several_are_asked_about(tmp_path: Path) -> None:
    series = [[float(i), 0.0, 1.0] for i in range(10)]
    columns = {"kind": [*range(10)], "trace": series}
    assert Table("train", path=_write(tmp_path / "one.parquet", columns)).shape == (3,)
    several = _write(tmp_path / "two.parquet", {**columns, "more": series})
    with pytest.raises(DataError, match=r"columns of lists \(trace, more\) and of numbers \(kind\).*columns = \['trace'\]"):
        Table("train", path=several)
    assert Table("train", path=several, columns=["kind"]).shape == (1,)


def test_lists_of_lists_keep_their_shape(tmp_path: Path) -> None:
    values = np.arange(60.0).reshape(5, 3, 4)
    path = _write(tmp_path / "t.parquet", {"matrix": values.tolist()})
    source = Table("train", path=path, holdout=0.2)
    assert source.shape == (3, 4)
    assert torch.equal(source[0], torch.from_numpy(values[0]).float())
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    assert torch.equal(Table("train", path=_write(tmp_path / "a.arrow", {"m": tensors}), holdout=0.2)[0], source[0])


def test_a_set_saved_from_the_hub(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for name, rows in (("train-00000-of-00002", range(6)), ("train-00001-of-00002", range(6, 10)), ("validation-0", range(20, 23))):
        cells = pa.array([{"bytes": _png(row), "path": f"{row}.png"} for row in rows], struct)
        _write(tmp_path / "data" / f"{name}.parquet", {"image": cells, "label": [row % 2 for row in rows]}, HUB)
    (tmp_path / "README.md").write_text("# a card")
    for path in (tmp_path, tmp_path / "data", tmp_path / "data" / "*.parquet"):
        train, test = (Table(split, path=path) for split in ("train", "test"))
        assert (len(train), len(test), train.shape) == (10, 3, (3, 5, 4))
        assert train.class_names == ("cat", "dog")
        assert train.labels is not None
        assert train.labels.tolist() == [0, 1] * 5
        for source, first in ((train, 0), (test, 20)):
            picture = np.asarray(Image.open(io.BytesIO(_png(first + 2))))
            assert np.array_equal(source[2].numpy(), picture.transpose(2, 0, 1))
    assert Table("test", path=tmp_path, size=(8, 8), channels=1).shape == (1, 8, 8)


@pytest.mark.parametrize("kind", ["bytes", "paths", "struct"])
def test_pictures_by_bytes_or_by_paths_beside_the_table(tmp_path: Path, kind: str) -> None:
    for row in range(4):
        (tmp_path / f"{row}.png").write_bytes(_png(row))
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = {
        "bytes": pa.array([_png(row) for row in range(4)]),
        "paths": pa.array([f"{row}.png" for row in range(4)]),
        "struct": pa.array([{"bytes": None, "path": f"{row}.png"} for row in range(4)], struct),
    }[kind]
    path = _write(tmp_path / ("t.csv" if kind == "paths" else "t.arrow"), {"picture": cells})
    source = Table("train", path=path, image="picture")
    assert np.array_equal(source[0].numpy(), np.asarray(Image.open(tmp_path / "0.png")).transpose(2, 0, 1))


def test_files_of_folders_and_lists(tmp_path: Path) -> None:
    for part in ("train", "test"):
        _write(tmp_path / part / "data-00000-of-00001.arrow", {"x": np.arange(4.0) + 10 * (part == "test")}, stream=True)
    _write(tmp_path / "more.parquet", {"x": np.arange(4.0, 6.0)})
    assert _all(Table("test", path=tmp_path / "test", test_path=tmp_path / "train")).flatten().tolist() == [0, 1, 2, 3]
    assert len(Table("train", path=tmp_path)) == 4
    files = [tmp_path / "train", tmp_path / "more.parquet"]
    assert len(Table("train", path=files, holdout=0.2)) == 5


@pytest.mark.parametrize(
    "names", [("my_train", "my_test"), ("train2017", "val2017"), ("train", "holdout"), ("cells", "cells_eval")]
)
def test_files_that_are_like_splits_by_half_are_refused_unless_each_is_named(tmp_path: Path, names: tuple[str, str]) -> None:
    paths = [_write(tmp_path / f"{name}.csv", {"x": np.arange(4.0)}) for name in names]
    with pytest.raises(DataError, match="splits or one set"):
        Table("train", path=tmp_path)
    assert len(Table("train", path=paths, holdout=0.25)) == 6
    assert len(Table("train", path=paths[0], test_path=paths[1])) == 4


def test_a_run_keeps_the_units_and_undoes_them_without_the_data(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", _numbers(40))
    registry = Registry.discover(["owae-data", "owae-layers", "owae-mmd"])
    values = {
        "data": {"kind": "table", "path": str(path), "label": "kind", "columns": ["x*"], "standardise": True},
        "levels": [{"layer": {"kind": "mlp", "latent": 1, "hidden": [2]}}],
        "weights": {"match": 1.0},
        "divergence": {"kind": "mmd"},
        "train": {"epochs": 1, "loggers": []},
    }
    train(Config.from_dict(values, registry), registry, out=tmp_path / "run")
    source = Table("test", path=path, label="kind", columns=["x*"], standardise=True)
    path.unlink()
    assert source.units is not None
    wanted = _all(source).numpy() * source.units["scale"] + source.units["shift"]
    assert np.allclose(open_run(tmp_path / "run", registry).natural(_all(source)), wanted, atol=1e-4)


# --- mistakes, each with the file, the column and the row ---


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"x": [1.0, None, 3.0]}, {}, r"column 'x', row 2 \(counted from 1\) holds no value \(null\)"),
        ({"x": [1.0, 2.0, float("nan")]}, {}, "column 'x', row 3 .* not finite"),
        ({"x": [1.0, 1e300, 2.0]}, {}, "column 'x', row 2 .* too large"),
        ({"s": [[1.0, 2.0], [3.0, 4.0], [5.0]]}, {}, "column 's', row 3 .* a list of 1, the first row one of 2"),
        ({"s": [[1.0, 2.0], None]}, {}, r"column 's', row 2 .* no list \(null\)"),
        ({"s": [[1.0, 2.0], [3.0, None]]}, {}, "column 's', row 2 .* no value"),
        ({"s": [[[1.0], [2.0]], [[3.0], [4.0, 5.0]]]}, {}, "column 's', row 2 .* a list of 2, the first row one of 1"),
        ({"x": ["1", "2", "3.5kg"]}, {"columns": ["x"]}, "column 'x', row 3 .* the text '3.5kg'; numbers are wanted"),
        ({"t": pa.array([0, 1], pa.timestamp("s"))}, {"columns": ["t"]}, r"column 't', is of type timestamp\[ms\]"),
        ({"name": ["a", "b"]}, {}, r"no column of numbers; found 'name' string. columns = \['x'\]"),
        ({"width": [1, 2]}, {"columns": ["widht"]}, "no column 'widht'; did you mean 'width'"),
        ({"x": [1, 2]}, {"label": "z"}, "no column 'z'; valid: x"),
        ({"x": [1, 2], "label": [0.5, 1]}, {}, "column 'label', row 1 .* holds 0.5; classes are whole numbers"),
        ({"x": [1, 2]}, {"image": "x"}, "column 'x', is of type int64; pictures are bytes, paths"),
        ({"x": pa.array([], pa.float64())}, {}, "holds no row"),
        ({"p": [b"no picture", b""]}, {"image": "p"}, r"t.parquet, row 1: no picture of a known format"),
        ({"x": [1]}, {}, "one must be held out"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], said: str) -> None:
    path = _write(tmp_path / "t.parquet", columns)
    with pytest.raises(DataError, match=said) as caught:
        Table("train", path=path, **options)
    assert options.get("image") == "p" or str(path) in str(caught.value) or "held out" in said


def test_shards_that_differ_are_told(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "s": [[1], [2]]})
    second = _write(tmp_path / "b.parquet", {"x": ["one", "two"], "s": [[1, 2], [3, 4]]})
    with pytest.raises(DataError, match=r"b\.parquet, column 'x', row 1 .* the text 'one'"):
        Table("train", path=tmp_path, columns=["x"])
    with pytest.raises(DataError, match=r"b\.parquet, column 's', has lists of shape \(2,\);.*a\.parquet of shape \(1,\)"):
        Table("train", path=tmp_path, columns=["s"])
    _write(second, {"y": [1.0]})
    with pytest.raises(DataError, match=r"b\.parquet has no column 'x'"):
        Table("train", path=tmp_path, columns=["x"])


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    for name, data in (("e.parquet", b""), ("d.arrow", b"ARROW1 and then rubbish"), ("x.xlsx", b"PK")):
        (tmp_path / name).write_bytes(data)
    for path, said in (
        ("e.parquet", "it is empty: 0 bytes"),
        ("d.arrow", "cannot be read as a table"),
        ("x.xlsx", "no table by its name; Parquet"),
        ("train-*.parquet", "no file fits the pattern"),
        ("none.csv", "there is no file"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            Table("train", path=tmp_path / path)
        assert str(tmp_path / path) in str(caught.value)
    one = _write(tmp_path / "a.csv", {"x": [1, 2, 3]})
    with pytest.raises(DataError, match="both in path and in test_path"):
        Table("train", path=one, test_path=tmp_path / "*.csv")
    with pytest.raises(ValueError, match="columns and image"):
        Table("train", path=one, columns=["x"], image="x")


def test_classes_of_every_kind(tmp_path: Path) -> None:
    for values, numbers, names in (
        ([0, 2, None], [0, 2, -1], None),
        ([True, False, True], [1, 0, 1], ("false", "true")),
        ([20000, 30000, 20000], [0, 1, 0], ("20000", "30000")),
        ([1.0, float("nan"), 0.0], [1, -1, 0], None),
        (pa.array(["b", None, "a"]).dictionary_encode(), [1, -1, 0], ("a", "b")),
    ):
        path = _write(tmp_path / "train.arrow", {"x": [1.0, 2.0, 3.0], "label": values})
        test = _write(tmp_path / "test.arrow", {"x": [4.0], "label": pa.array([values[0]] if isinstance(values, list) else ["b"])})
        source = Table("train", path=path, test_path=test)
        assert source.labels is not None
        assert source.labels.tolist() == numbers
        assert source.class_names == names
