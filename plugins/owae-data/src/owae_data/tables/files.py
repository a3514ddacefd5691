"""Finds the files of a table and opens them: a file, a folder of shards, a pattern, or a list of those."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from owae.errors import DataError, suggestion
from owae_data.split_folders import split_files
from owae_data.tables.text import read_text

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
}
WANTED = "Parquet (.parquet), Arrow (.arrow, .feather) and CSV (.csv, .tsv, also .gz)"


def arrow() -> Any:
    """pyarrow, imported.

    Raises:
        DataError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise DataError("tables are read by pyarrow: pip install 'owae-data[table]'") from error
    return pyarrow


def _kind(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".bz2", ".zst"):
        return "csv" if SUFFIXES.get((suffixes[-2:] or [""])[0]) == "csv" else None
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def is_table(path: Path) -> bool:
    """Tells by its name whether a file is a table."""
    return _kind(path) is not None


@dataclass(frozen=True)
class TableFile:
    """One file of a table, of which only the columns' names and types were read.

    Attributes:
        path: The file.
        kind: "parquet", "arrow" or "csv".
    """

    path: Path
    kind: str

    @cached_property
    def _opened(self) -> Any:
        arrow()
        try:
            if self.path.stat().st_size == 0:
                raise ValueError("it is empty: 0 bytes")
            return _open(self.path, self.kind)
        except Exception as error:  # a damaged file fails in many ways
            raise DataError(f"{self.path} cannot be read as a table ({error}); {WANTED} would work") from error

    @property
    def schema(self) -> Any:
        """Names and types of the columns."""
        return self._opened.schema_arrow if self.kind == "parquet" else self._opened.schema

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self._opened.metadata.num_rows if self.kind == "parquet" else self._opened.num_rows

    def require_rows(self) -> None:
        """Refuses a file without rows, with a `DataError`."""
        if self.rows == 0:
            raise DataError(f"{self.path} holds no row; remove it, or name the other files by path")

    def read(self, name: str) -> Any:
        """Reads a column, as one array of Arrow's.

        Raises:
            DataError: There is no such column, or the file is damaged.
        """
        if name not in self.schema.names:
            raise DataError(f"{self.path} has no column '{name}'; {suggestion(name, self.schema.names)}")
        try:
            table = self._opened.read([name]) if self.kind == "parquet" else self._opened
            return table.column(name).combine_chunks()
        except Exception as error:
            raise DataError(f"{self.path}, column '{name}', cannot be read ({error}): the file is damaged") from error

    def cell(self, name: str, row: int) -> Any:
        """Reads one cell as Python's; of a Parquet file a group of rows is read at a time, and the last few are kept."""
        if self.kind != "parquet":
            return self._opened.column(name)[row].as_py()
        for group in range(self._opened.num_row_groups):
            count = self._opened.metadata.row_group(group).num_rows
            if row < count:
                return _group(str(self.path), group, name)[row].as_py()
            row -= count
        raise IndexError(row)

    @cached_property
    def features(self) -> dict[str, dict[str, Any]]:
        """What the Hugging Face hub has set down of the columns: `{"label": {"_type": "ClassLabel", "names": […]}}`; empty without."""
        try:
            found = json.loads((self.schema.metadata or {})[b"huggingface"])["info"]["features"]
            return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
        except (KeyError, TypeError, ValueError):
            return {}

    def place(self, name: str, row: int) -> str:
        """Names a cell for messages."""
        return f"{self.path}, column '{name}', row {row + 1} (counted from 1)"


@lru_cache(maxsize=4)
def _group(path: str, group: int, name: str) -> Any:
    from pyarrow import parquet

    return parquet.ParquetFile(path).read_row_group(group, [name]).column(name)


def _open(path: Path, kind: str) -> Any:
    import pyarrow

    if kind == "parquet":
        from pyarrow import parquet

        return parquet.ParquetFile(path)
    if kind == "arrow":
        source = pyarrow.memory_map(str(path))
        try:
            return pyarrow.ipc.open_file(source).read_all()
        except pyarrow.ArrowInvalid:  # written as a stream, as datasets.save_to_disk does; or Feather's first version
            source.seek(0)
            return pyarrow.ipc.open_stream(source).read_all()
    return read_text(path)


@dataclass(frozen=True)
class Shards:
    """The files of a table, by what they are for; `test` is empty where examples are to be held out."""

    train: tuple[TableFile, ...]
    test: tuple[TableFile, ...]


def find_shards(path: Path | Sequence[Path], test_path: Path | Sequence[Path] | None) -> Shards:
    """Finds the files of both splits.

    Args:
        path: A file, a folder, a pattern, or several; of the training split, or of both, told by names (`train-00000-of-00002.parquet`,
            `test/data.arrow`).
        test_path: The same of the test split.

    Raises:
        DataError: There are none, they are no tables, or their names are like those of splits by half.
    """
    files = _files(path)
    if test_path is not None:
        tests = _files(test_path)
        both = [str(one.path) for one in tests if one.path in {file.path for file in files}]
        if both:
            raise DataError(f"{both[0]} is both in path and in test_path; a test example must be no training example")
        return Shards(tuple(files), tuple(tests))
    parts = split_files([file.path for file in files], str(path), named=not isinstance(path, Path))
    if parts is None:
        return Shards(tuple(files), ())
    by_path = {file.path: file for file in files}
    return Shards(*(tuple(by_path[one] for one in parts[split]) for split in ("train", "test")))


def _files(path: Path | Sequence[Path]) -> list[TableFile]:
    if not isinstance(path, Path):
        return [file for one in path for file in _files(one)]
    path = path.expanduser().absolute()
    if path.is_dir():
        inside = sorted(one for one in path.rglob("*") if one.is_file() and _kind(one) and not one.name.startswith("."))
        if not inside:
            raise DataError(f"the folder {path} holds no table; {WANTED} would work")
    elif path.is_file():
        if _kind(path) is None:
            raise DataError(f"{path} is no table by its name; {WANTED} would work")
        inside = [path]
    else:
        inside = sorted(Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file())  # noqa: PTH207 # a whole path
        if not inside:
            found = "no file fits the pattern" if re.search(r"[*?[]", str(path)) else "there is no file"
            raise DataError(f"{found} {path}; a file, a folder or a pattern such as data/train-*.parquet would work")
    return [TableFile(one, _known(one)) for one in inside]


def _known(path: Path) -> str:
    kind = _kind(path)
    if kind is None:
        raise DataError(f"{path} is no table by its name; {WANTED} would work")
    return kind
