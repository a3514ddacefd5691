"""Reads columns of numbers, and of lists of numbers, as float32; what is missing or not finite is told by its place."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from owae.errors import DataError, suggestion
from owae_data.tables.files import TableFile

logger = logging.getLogger(__name__)

MANY = 20  # columns that a message lists
_COUNTERS = {"", "id", "index", "idx", "unnamed: 0", "__index_level_0__"}


def is_number(kind: Any) -> bool:
    """Tells whether a column of this type holds numbers or truth values."""
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)


def is_list(kind: Any) -> bool:
    """Tells whether a column of this type holds lists of numbers, or lists of such lists."""
    inner = _inner(kind)
    return inner is not None and (is_number(inner) or is_list(inner))


def _inner(kind: Any) -> Any:
    from pyarrow import types

    if hasattr(kind, "storage_type"):
        kind = kind.storage_type
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return kind.value_type if listed else None


def chosen_columns(
    file: TableFile, wanted: Sequence[str] | None, left_out: set[str], level: int = logging.WARNING
) -> tuple[list[str], list[str]]:
    """Names the columns that make an example, in the order of the patterns, and of the file within a pattern.

    Args:
        file: The first of the table.
        wanted: Names or patterns; None for the one column of lists, or where there is none all numbers.
        left_out: Columns that a pattern does not take.
        level: Of the log line on a column of texts that are mostly numbers; what else is left out is told one lower.

    Returns:
        Them; and columns that nobody named, and that are passed over since they hold neither numbers nor lists.

    Raises:
        DataError: A pattern fits no column, a column holds no numbers, or it is not clear which to take.
    """
    types = dict(zip(file.schema.names, file.schema.types, strict=True))
    if len(types) < len(file.schema.names):
        twice = next(name for name in file.schema.names if file.schema.names.count(name) > 1)
        raise DataError(f"{file.path} has several columns '{twice}'; give each a name of its own")
    if wanted is None:
        numbers = [
            name for name, kind in types.items() if is_number(kind) and name.lower() not in _COUNTERS and name not in left_out
        ]
        lists = [name for name, kind in types.items() if is_list(kind) and name not in left_out]
        unused = [name for name, kind in types.items() if not is_number(kind) and not is_list(kind) and name not in left_out]
        if len(lists) == 1:
            if numbers:
                logger.info("an example is '%s' of %s; columns = [...] would take %s too", lists[0], file.path, ", ".join(numbers))
            return lists, unused
        if lists:
            beside = f" and of numbers ({', '.join(numbers)})" if numbers else ""
            raise DataError(
                f"{file.path} has columns of lists ({', '.join(lists)}){beside}; columns = ['{lists[0]}'] names those that make an example"
            )
        if not numbers:
            shown = ", ".join(f"'{name}' {kind}" for name, kind in types.items())
            raise DataError(
                f"{file.path} has no column of numbers; found {shown}. columns = ['x'] names one, image = 'x' one of pictures"
            )
        nearly = [name for name in unused if _is_nearly_numbers(file, name, types[name])]
        for name in nearly:
            logger.log(
                level,
                "'%s' is no part of an example, though most of its cells are numbers: %s",
                name,
                _not_numbers(file, name, types[name]),
            )
        if others := [f"'{name}' ({types[name]})" for name in unused if name not in nearly]:
            more = f" and {len(others) - MANY} more" if len(others) > MANY else ""
            text = "%s: left out, for they hold no numbers: %s%s"
            logger.log(max(level - 10, logging.DEBUG), text, file.path, ", ".join(others[:MANY]), more)
        return numbers, unused
    chosen: list[str] = []
    for pattern in wanted:
        fits = [pattern] if pattern in types else [name for name in fnmatch.filter(types, pattern) if name not in left_out]
        if not fits:
            raise DataError(f"{file.path} has no column '{pattern}'; {suggestion(pattern, types)}")
        chosen += [name for name in fits if name not in chosen]
    for name in chosen:
        if not is_number(types[name]) and not is_list(types[name]):
            raise DataError(_not_numbers(file, name, types[name]))
    return chosen, []


def _is_nearly_numbers(file: TableFile, name: str, kind: Any) -> bool:
    """Tells whether a column holds texts, most of which are numbers."""
    if not _is_text(kind):
        return False
    texts = file.read(name).slice(0, 1000).to_pylist()
    return sum(_reads_as_number(text) for text in texts) > len(texts) / 2


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _reads_as_number(text: str | None) -> bool:
    try:
        float(0 if text is None else text)
    except ValueError:
        return False
    return True


def _not_numbers(file: TableFile, name: str, kind: Any) -> str:
    """Says why a column is none of numbers: by its first cell that is no number, where they are texts."""
    if _is_text(kind):
        for row, text in enumerate(file.read(name).to_pylist()):
            if not _reads_as_number(text):
                return f"{file.place(name, row)} holds the text '{str(text)[:40]}'; numbers are wanted, so mend it or leave the column out"
        return f"{file.path}, column '{name}', holds numbers written as texts; save it with numbers, or leave it out"
    return f"{file.path}, column '{name}', is of type {kind}; numbers and lists of numbers would work"


def read_numbers(files: Sequence[TableFile], columns: Sequence[str]) -> tuple[Float32[np.ndarray, "N *x"], list[str], list[int]]:
    """Reads columns of files, one file after the other.

    Args:
        files: All of the same columns.
        columns: A single column of lists keeps their shape; several columns are put one after the other.

    Returns:
        The examples; the name of each entry of one; and the column that each is of, by its number.

    Raises:
        DataError: A cell is missing, not finite or too large, lists differ in length, or a file has other columns than the first.
    """
    parts: list[list[np.ndarray]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        row = []
        for name in columns:
            values = _column(file, name)
            shape = shapes.setdefault(name, values.shape[1:])
            if values.shape[1:] != shape:
                raise DataError(
                    f"{file.path}, column '{name}', has lists of shape {values.shape[1:]}; {files[0].path} of shape {shape}"
                )
            row.append(values)
        parts.append(row)
    if len(columns) == 1 and shapes[columns[0]]:
        examples = np.concatenate([row[0] for row in parts])
    else:
        examples = np.concatenate([np.concatenate([one.reshape(len(one), -1) for one in row], 1) for row in parts])
    names, owners = [], []
    for number, name in enumerate(columns):
        count = int(np.prod(shapes[name]))
        names += [name] if not shapes[name] else [f"{name}[{index}]" for index in range(count)]
        owners += [number] * count
    return examples, names, owners


def _column(file: TableFile, name: str) -> Float32[np.ndarray, "N *x"]:
    array = file.read(name)
    if not is_number(array.type) and not is_list(array.type):
        raise DataError(_not_numbers(file, name, array.type))
    shape = getattr(array.type, "shape", None)  # of Arrow's own tensors
    array = array.storage if hasattr(array.type, "storage_type") else array
    rows, lengths = len(array), []
    while _inner(array.type) is not None:
        lengths.append(_common_length(file, name, array, rows))
        array = array.flatten()
    _require_whole(file, name, array.is_null().to_numpy(zero_copy_only=False), rows, "no value (null)")
    values = np.asarray(array.cast("float64", safe=False) if not _is_bool(array) else array.cast("uint8"), np.float64)
    with np.errstate(over="ignore"):
        values32 = values.astype(np.float32)
    _require_whole(file, name, ~np.isfinite(values32), rows, "a value that is not finite in 32 bits: NaN, infinite or too large")
    return values32.reshape(rows, *(shape or lengths))


def _is_bool(array: Any) -> bool:
    from pyarrow import types

    return types.is_boolean(array.type)


def _common_length(file: TableFile, name: str, array: Any, rows: int) -> int:
    from pyarrow import compute

    measure: Any = compute  # whose functions are made when it is imported
    if hasattr(array.type, "list_size") and array.type.list_size > 0:
        _require_whole(file, name, array.is_null().to_numpy(zero_copy_only=False), rows, "no list (null)")
        return array.type.list_size
    lengths = measure.list_value_length(array)
    _require_whole(file, name, lengths.is_null().to_numpy(zero_copy_only=False), rows, "no list (null)")
    found = lengths.to_numpy(zero_copy_only=False)
    if len(found) and (found != found[0]).any():
        odd = int((found != found[0]).argmax())
        row = odd * rows // len(found)
        raise DataError(
            f"{file.place(name, row)} holds a list of {found[odd]}, the first row one of {found[0]}; all must have one length: cut or fill "
            "them, or leave the column out"
        )
    if len(found) and not found[0]:
        raise DataError(f"{file.place(name, 0)} holds an empty list; lists of numbers are wanted")
    return int(found[0])


def _require_whole(file: TableFile, name: str, bad: np.ndarray, rows: int, what: str) -> None:
    """Refuses entries that are bad; those of one row lie beside each other."""
    if bad.any():
        place = file.place(name, int(bad.argmax()) * rows // len(bad))
        raise DataError(
            f"{place} holds {what}, as {int(bad.sum())} of its entries do; fill or drop such rows, or leave the column out"
        )
