"""Writes tables block by block, in constant memory, whole or not at all: `.npz`, `.parquet` and `.csv`, and what plugins bring."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from owae.errors import OwaeError
from owae.files import replace_durably, temporary_for
from owae.registry.discovery import extension

Block = Mapping[str, np.ndarray]  # columns, each (rows, *event), of the same keys, event shapes and kinds in every block
SUFFIXES = (".npz", ".parquet", ".csv")


def check_suffix(path: Path, suffixes: Iterable[str] = SUFFIXES) -> None:
    """Refuses a file that cannot be written, before anything is computed.

    Raises:
        OwaeError: It ends in another suffix, or a package is missing.
    """
    suffixes = tuple(suffixes)
    if path.suffix.lower() not in suffixes and _of_plugin(path) is None:
        brought = "; pip install owae-anndata brings it" if path.suffix.lower() == ".h5ad" else ""
        raise OwaeError(f"{path} ends in '{path.suffix}'{brought}; {', '.join(suffixes)} would work")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401 # whether it is there
        except ImportError as error:
            raise OwaeError("a .parquet file needs pyarrow; pip install 'owae-report[parquet]' brings it") from error


def write(path: Path, blocks: Iterable[Block], count: int) -> None:
    """Writes blocks of columns, `count` rows in all, in the format of the path's suffix."""
    check_suffix(path)
    temporary = temporary_for(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = {".npz": _npz, ".parquet": _parquet, ".csv": _csv_file}.get(path.suffix.lower())
        (own or _of_plugin(path))(temporary, blocks, count)
        replace_durably(temporary, path)
    except OSError as error:
        raise OwaeError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _of_plugin(path: Path) -> Any:
    """The function that a plugin brings for a suffix, as the name `write.h5ad`; None where none does."""
    return extension(f"write{path.suffix.lower()}") if path.suffix else None


def _npz(path: Path, blocks: Iterable[Block], count: int) -> None:
    """Writes every column into a file of its own, on the same disk, and packs them without compression."""
    folder = path.with_name(f"{path.name}.columns")  # always the same, so that what a killed process left goes with the next one
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        columns: dict[str, Any] = {}
        at = 0
        for block in blocks:
            rows = len(next(iter(block.values())))
            for name, values in block.items():
                if name not in columns:
                    shape = (count, *values.shape[1:])
                    columns[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", values.dtype, shape)
                columns[name][at : at + rows] = values
            at += rows
        for column in columns.values():
            column.flush()
        names = list(columns)
        columns.clear()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
            for name in names:
                with (folder / f"{name}.npy").open("rb") as source, file.open(f"{name}.npy", "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parquet(path: Path, blocks: Iterable[Block], count: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    try:
        for block in blocks:
            arrays = {}
            for name, values in block.items():
                flat = pa.array(values.reshape(-1))
                width = int(np.prod(values.shape[1:]))
                arrays[name] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
            table = pa.table(arrays)
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _csv_file(path: Path, blocks: Iterable[Block], count: int) -> None:
    with path.open("w", newline="") as file:
        for text in csv_lines(blocks):
            file.write(text)


def csv_lines(blocks: Iterable[Block]) -> Iterator[str]:
    """Returns blocks as CSV, the first with a heading; a column of events becomes one for each of their numbers."""
    begun = False
    for block in blocks:
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        columns: dict[str, Any] = {}
        for name, values in block.items():
            flat = values.reshape(len(values), -1)
            columns |= {name if values.ndim == 1 else f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}
        if not begun:
            table.writerow(columns)
            begun = True
        table.writerows(zip(*(_cells(column) for column in columns.values()), strict=True))
        yield out.getvalue()


def _cells(column: np.ndarray) -> list[Any]:
    return [f"{value:.7g}" for value in column.tolist()] if column.dtype.kind == "f" else column.tolist()
