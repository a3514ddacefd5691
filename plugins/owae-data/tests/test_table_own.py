"""Tables as users have them: of any separator and encoding; and other rows of a table that a run was trained on."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from owae.errors import DataError
from owae_data.tables.own import of_run
from owae_data.tables.source import Table

ROWS = [(1.5, 20, "rosé"), (2.25, 30, "Iris"), (3.75, 10, "rosé"), (4.5, 50, "Iris")]


@pytest.mark.parametrize(
    ("separator", "point", "encoding"),
    [(",", ".", "utf-8-sig"), (";", ",", "cp1252"), (";", ".", "utf-8"), ("\t", ".", "utf-16"), ("|", ".", "utf-8")],
)
def test_text_of_any_separator_point_and_encoding(
    tmp_path: Path, separator: str, point: str, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lines = [separator.join(['"länge, cm"', "n", "class"])]
    lines += [separator.join([str(a).replace(".", point), str(b), c]) for a, b, c in ROWS]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding)
    source = Table("train", path=tmp_path / "t.csv", holdout=0.5)
    assert source.columns == ["länge, cm", "n"]
    assert source.class_names == ("Iris", "rosé")
    assert {tuple(row) for row in source.batch(torch.arange(len(source))).tolist()} < {row[:2] for row in ROWS}
    assert ("Windows-1252" in caplog.text) == (encoding == "cp1252")


def test_a_column_that_is_left_out_for_a_few_texts_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text("a,b,note\n" + "".join(f"{i},{'?' if i == 4 else i},n{i}\n" for i in range(10)))
    assert Table("train", path=tmp_path / "t.csv").columns == ["a"]
    (said,) = caplog.messages
    assert "'b' is no part of an example, though most of its cells are numbers" in said
    assert "row 5 (counted from 1) holds the text '?'" in said


def run_of(source: Any, **options: Any) -> Any:
    """What is asked of a run that was trained on a source."""
    data = SimpleNamespace(kind="table", options=SimpleNamespace(**options))
    return SimpleNamespace(source=lambda split: source, folder=Path("runs/t"), config=SimpleNamespace(data=data))


def test_other_rows_are_taken_by_the_runs_columns_scale_and_classes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,a,b,class\n" + "".join(f"{i},{i},{i * i},{'xy'[i % 2]}\n" for i in range(20)))
    trained = Table("train", path=tmp_path / "t.csv", standardise=True)
    (tmp_path / "other.csv").write_text("b;note;class;a\n4;text;y;2\n9;text;z;3\n")
    other = of_run(run_of(trained), tmp_path / "other.csv")
    assert trained.units is not None
    natural = other.batch(torch.arange(2)).numpy() * trained.units["scale"] + trained.units["shift"]
    assert np.allclose(natural, [[2, 4], [3, 9]], atol=1e-4)
    assert other.labels is not None
    assert other.labels.tolist() == [1, -1]
    assert other.class_names == ("x", "y")
    (tmp_path / "few.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="has no column 'b'"):
        of_run(run_of(trained), tmp_path / "few.csv")
    with pytest.raises(DataError, match="was trained on 'table': a file of that kind"):
        of_run(run_of(None), tmp_path / "few.csv")


def test_other_pictures_are_brought_to_the_runs_form(tmp_path: Path, store: Path) -> None:
    def pictures(path: Path, side: int, count: int) -> Path:
        files = []
        for i in range(count):
            file = io.BytesIO()
            Image.new("RGB", (side, side), (10 * i, 0, 0)).save(file, "PNG")
            files.append(file.getvalue())
        parquet.write_table(pyarrow.table({"p": files}), path)
        return path

    trained = Table("train", path=pictures(tmp_path / "t.parquet", 4, 5), image="p")
    other = of_run(run_of(trained, crop=None, background="white"), pictures(tmp_path / "o.parquet", 8, 2))
    assert other.shape == (3, 4, 4)
    assert other[1][0].unique().tolist() == [10]


@pytest.mark.parametrize(
    ("first", "examples"),
    [("5.1,3.5,a", 4), ("5,0,0", 4), ("-1,2,3", 4), ("2019,2020,2021", 3), ("x.1,y2,z", 3), ("5,0,class", 3)],
)
def test_a_file_without_names_loses_no_example(tmp_path: Path, first: str, examples: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "t.csv").write_text("\n".join([first, "1.5,2,3", "4,5,6", "7,8,9"]) + "\n")
    splits = [Table(split, path=tmp_path / "t.csv", holdout=0.5) for split in ("train", "test")]
    assert sum(map(len, splits)) == examples
    assert ("its columns are called f0, f1" in caplog.text) == (examples == 4)


def test_columns_that_are_left_out_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = [f"2024-01-0{row + 1},{row}%,{row / 2},{row}.5,a" for row in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(["day,share,x,y,kind", *rows]))
    for split in ("train", "test"):
        source = Table(split, path=tmp_path / "t.csv", label="kind")
        assert (source.columns, source.unused) == (["x", "y"], ["day", "share"])
    assert caplog.text.count("left out, for they hold no numbers: 'day' (date32[day]), 'share' (string)\n") == 1
    assert Table("train", path=tmp_path / "t.csv", label="kind", columns=["x"]).unused == []


def test_several_columns_of_lists_are_asked_about_without_numbers_too(tmp_path: Path) -> None:
    lists = [[0.5, 1.0]] * 4
    parquet.write_table(pyarrow.table({"s": lists, "t": lists}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"has columns of lists \(s, t\); columns = \['s'\]"):
        Table("train", path=tmp_path / "t.parquet")
