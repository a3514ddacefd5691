"""Reads Google-style docstrings, which Python keeps indented up to 3.12 and without the indentation from 3.13 on."""

from __future__ import annotations

import inspect
import re

from pydantic import BaseModel


def sections(doc: str | None) -> dict[str, dict[str, str]]:
    """Returns the named sections of a docstring: each name in them, and its text."""
    found: dict[str, dict[str, str]] = {}
    for title, body in re.findall(r"^(\w+):\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(doc or "") + "\n", re.MULTILINE):
        entries = re.findall(r"^ {4}(\*{0,2}\w+)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)", body, re.MULTILINE)
        found[title] = {name: " ".join(text.split()) for name, text in entries}
    return found


def described(model: type[BaseModel]) -> dict[str, str]:
    """Returns the texts of a model's attributes, from its docstring."""
    return sections(model.__doc__).get("Attributes", {})
