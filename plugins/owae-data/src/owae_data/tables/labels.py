"""Reads the column of classes: names, whole numbers, truth values, or numbers whose names the Hugging Face hub has set down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from owae.errors import DataError
from owae_data.tables.files import TableFile

USUAL = ("label", "labels", "target", "class", "y")
MOST = 10000  # a whole number beyond is no number of a class, but one of the names that classes have

Labels = Int64[np.ndarray, " N"]


def find_label(file: TableFile) -> str | None:
    """The column that holds classes: the one that the hub says, or one of the usual names; None where there is none."""
    told = [name for name, feature in file.features.items() if feature.get("_type") == "ClassLabel"]
    if len(told) == 1:
        return told[0]
    lower = {name.lower(): name for name in reversed(file.schema.names)}
    return next((lower[name] for name in USUAL if name in lower), None)


def read_labels(splits: Sequence[Sequence[TableFile]], name: str) -> tuple[list[Labels], tuple[str, ...] | None]:
    """Reads the classes of several splits: a number for each row, −1 where there is none; and their names, where they have any.

    Raises:
        DataError: The column holds something else than classes.
    """
    columns = [[_values(file, name) for file in files] for files in splits]
    told = next((f.features.get(name, {}).get("names") for files in splits for f in files), None)
    flat = [value for files in columns for values in files for value in values if value is not None]
    kinds = {bool if isinstance(v, bool) else int if isinstance(v, int) else str for v in flat}
    if len(kinds) > 1:
        raise DataError(f"{splits[0][0].path}, column '{name}': some files hold texts and others numbers; save them alike")
    if kinds <= {int} and all(-1 <= value < MOST for value in flat):
        if told and max(flat, default=0) >= len(told):
            raise DataError(
                f"{splits[0][0].path}, column '{name}': class {max(flat)} is beyond the {len(told)} names that are set down"
            )
        numbered = {value: value for value in flat}
        names = tuple(map(str, told)) if told else None
    else:
        known = sorted(set(flat))
        numbered = {value: number for number, value in enumerate(known)}
        names = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in known)
    numbers = [
        np.array([-1 if value is None else numbered[value] for values in files for value in values], np.int64) for files in columns
    ]
    return numbers, names


def _values(file: TableFile, name: str) -> list[Any]:
    """The cells of a column, as whole numbers, truth values or texts; None where there is none."""
    from pyarrow import types

    array = file.read(name)
    kind = array.type.value_type if types.is_dictionary(array.type) else array.type
    if types.is_floating(kind):
        cells = array.to_pylist()
        for row, value in enumerate(cells):
            if value is not None and value == value and not float(value).is_integer():
                raise DataError(
                    f"{file.place(name, row)} holds {value:g}; classes are whole numbers or texts. label = false takes none, "
                    "label = 'x' another column"
                )
        return [None if value is None or value != value else int(value) for value in cells]
    if types.is_null(kind):
        return [None] * len(array)
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind):
        return array.to_pylist()
    raise DataError(
        f"{file.path}, column '{name}', is of type {kind}; classes are whole numbers or texts. label = false takes none"
    )
