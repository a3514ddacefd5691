"""Reads tables of text: finds out what separates their columns, how decimals are written and how characters are encoded."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HEAD = 1 << 16  # bytes that are looked at


def read_text(path: Path) -> Any:
    """Reads a CSV file, packed or not, as a table of Arrow's.

    Columns are separated by commas, semicolons, tabs or bars, whichever the first line has most of; beside semicolons a comma may be the
    decimal point. A first line of numbers is an example, no names, and columns are then called f0, f1, …. Characters are those of UTF-8,
    of UTF-16 where the file says so, or else of Windows-1252, which is logged.
    """
    import pyarrow
    from pyarrow import csv

    with pyarrow.input_stream(str(path), compression="detect") as stream:
        head = stream.read(HEAD)
    encoding = _encoding(head)
    if encoding == "cp1252":
        log.info("%s is not in UTF-8, and is read as Windows-1252", path)
    lines = head.decode(encoding, "replace").splitlines() or [""]
    separator = "\t" if ".tsv" in path.suffixes else max(",;\t|", key=re.sub(r'"[^"]*"', "", lines[0]).count)
    decimals = "".join(lines[1:-1] or lines[1:])
    comma = separator == ";" and re.search(r"\d,\d", decimals) is not None and re.search(r"\d\.\d", decimals) is None
    nameless = _are_values(lines[0].split(separator), "," if comma else ".")
    if nameless:
        log.info("%s begins with numbers, not with names; its columns are called f0, f1, …", path)
    # Strings that say so are null; columns whose names were left out get numbers.
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(encoding=encoding, autogenerate_column_names=nameless),
        parse_options=csv.ParseOptions(delimiter=separator),
        convert_options=csv.ConvertOptions(decimal_point="," if comma else "."),
    )


def _are_values(cells: list[str], point: str) -> bool:
    """Tells whether a first line is an example: it holds a decimal fraction, or nothing but whole numbers of which two are alike."""
    cells = [cell.strip().strip('"').removeprefix("\ufeff").replace(point, ".") for cell in cells]
    numbers = [cell for cell in cells if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell)]
    whole = all(number.isdecimal() for number in numbers)  # such as years, which can be names
    return not whole or len(numbers) == len(cells) > len(set(cells))


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf8"
