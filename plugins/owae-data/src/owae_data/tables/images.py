"""Reads columns of pictures: bytes of files, paths, or both, as the Hugging Face hub stores them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from owae.errors import DataError
from owae_data.picture_sets import Pictures, is_picture
from owae_data.pictures import regular
from owae_data.tables.files import TableFile


def find_image(file: TableFile) -> str | None:
    """The column that holds pictures: the one that the hub says, or the one of bytes with a path; None where there is none."""
    told = [name for name, feature in file.features.items() if feature.get("_type") == "Image"]
    if told:
        return told[0]
    found = [name for name, kind in zip(file.schema.names, file.schema.types, strict=True) if _is_struct(kind)]
    return found[0] if len(found) == 1 else None


def _is_struct(kind: Any) -> bool:
    from pyarrow import types

    return types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}


def pictures_in(files: Sequence[TableFile], name: str) -> Pictures:
    """The pictures in a column, file after file; a path is relative to the folder of its file.

    Raises:
        DataError: The column is none of pictures.
    """
    from pyarrow import types

    for file in files:
        if name not in file.schema.names:
            file.read(name)  # which says so
        kind = file.schema.field(name).type
        binary = types.is_binary(kind) or types.is_large_binary(kind)
        if not (binary or _is_struct(kind) or types.is_string(kind) or types.is_large_string(kind)):
            raise DataError(
                f"{file.path}, column '{name}', is of type {kind}; pictures are bytes, paths, or a struct of both (bytes, path)"
            )
    places = {f"{file.path}, row {row + 1}": (file, row) for file in files for row in range(file.rows)}

    def open_picture(place: str) -> Any:
        file, row = places[place]
        cell = file.cell(name, row)
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if isinstance(data, str):
            data, path = None, data
        if data is not None:
            return io.BytesIO(data)
        if path is None:
            raise ValueError("no picture (null)")
        if not is_picture(Path(path).name):
            raise ValueError(f"'{path}' is not the name of a picture")
        return regular(file.path.parent / path)

    return Pictures(list(places), open_picture, f"column '{name}'")
