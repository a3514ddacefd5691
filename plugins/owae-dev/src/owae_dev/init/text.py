"""Writes a config with comments that say what was found and why something was chosen."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import tomli_w

WIDTH = 120


def render(heading: Iterable[str], values: Mapping[str, Any], why: Mapping[str, str], left_out: Iterable[str] = ()) -> str:
    """Returns a TOML file.

    Args:
        heading: Paragraphs of the comment at its top.
        values: The tables.
        why: A comment above a table, by its name.
        left_out: Tables that are written as comments, for the reader to take in.
    """
    parts = [_comment(heading).rstrip("\n")]
    for name, value in values.items():
        lines = _comment([why[name]]) if name in why else ""
        lines += "\n".join(_array(name, value) if isinstance(value, list) else [_table(name, value)])
        parts.append("\n".join(f"# {line}".rstrip() for line in lines.splitlines()) if name in left_out else lines.rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def _array(name: str, tables: list[dict[str, Any]]) -> list[str]:
    return [f"[[{name}]]\n{_lines(table)}" for table in tables]


def _table(name: str, table: dict[str, Any]) -> str:
    return f"[{name}]\n{_lines(table)}"


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _inline(key)


def _comment(paragraphs: Iterable[str]) -> str:
    lines = []
    for paragraph in paragraphs:
        safe = "".join(sign if sign.isprintable() else "?" for sign in paragraph)  # a name may hold anything, a comment not
        lines += textwrap.wrap(safe, WIDTH - 2, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)
