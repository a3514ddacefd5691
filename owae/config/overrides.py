"""`--set key=value`: changes to a config's values before they are checked, named in every message about them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Any

from owae.errors import Problem
from owae.registry.problems import join, shown


def apply(values: dict[str, Any], texts: Iterable[str]) -> tuple[dict[str, str], list[Problem]]:
    """Makes changes `key=value` to a config's values, in place and in order.

    A key is written as `train.epochs`, `levels[0].layer.latent` or `levels.0.layer.latent`, a value as in TOML; what TOML cannot read is
    taken as a string. Tables that are missing are made.

    Returns:
        The text that set each place, and the mistakes in the texts themselves.
    """
    texts_by_place: dict[str, str] = {}
    problems: list[Problem] = []
    for text in texts:
        key, equals, value = text.partition("=")
        parts = re.sub(r"\[(\d+)\]", r".\1", key.strip()).split(".")
        if not equals or not all(re.fullmatch(r"[\w-]+", part) for part in parts):
            problems.append(Problem("", f"--set {text}: write --set key=value, as --set train.epochs=3"))
            continue
        if not value.strip():
            problems.append(Problem("", f"--set {text}: no value, as of a variable that is not set; '' would be an empty text"))
            continue
        try:
            place = _put(values, parts, _read(value.strip()))
        except LookupError as error:
            problems.append(Problem("", f"--set {text}: {error.args[0]}"))
        else:
            texts_by_place.pop(place, None)  # the latest comes last
            texts_by_place[place] = text
    return texts_by_place, problems


def with_override(problem: Problem, texts_by_place: dict[str, str]) -> Problem:
    """Returns the problem, with the `--set` that brought it, if one did: the last that set its place or what that lies within."""
    for place, text in reversed(texts_by_place.items()):
        if problem.place == place or problem.place.startswith((f"{place}.", f"{place}[")):
            return Problem(problem.place, f"{problem.message} (from --set {text})")
    return problem


def _read(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return read["value"] if len(read) == 1 else text


def _put(values: dict[str, Any], parts: list[str], value: Any) -> str:
    """Sets the value at a path, making tables on the way, and returns the path as a place."""
    *way, last = parts
    container: Any = values
    place = ""
    for part in way:
        key = _key(container, part, place)
        container = container.setdefault(key, {}) if isinstance(container, dict) else container[key]
        place = join(place, key)
    key = _key(container, last, place)
    container[key] = value
    return join(place, key)


def _key(container: Any, part: str, place: str) -> str | int:
    """Returns a part of a path as a key of the table or the list at a place; `LookupError` if it is none."""
    if isinstance(container, dict):
        return part
    if not isinstance(container, list):
        raise LookupError(f"{place} is {shown(container)}, which holds no '{part}'")
    if not part.isdecimal() or int(part) >= len(container):
        raise LookupError(f"{place} is a list of {len(container)}, counted from 0; it has no '{part}'")
    return int(part)
