"""`--set key=value`: changes to a config's values before they are checked, named in every message about them."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from owae.errors import Problem
from owae.registry.options import join, shown


@dataclass(frozen=True)
class Override:
    """One change: what was typed, and the place it is for."""

    text: str
    place: str

    def covers(self, place: str) -> bool:
        """Whether a place is the one that was set, or lies within it."""
        return place == self.place or place.startswith((f"{self.place}.", f"{self.place}["))


def apply(values: Mapping[str, Any], texts: Iterable[str]) -> tuple[dict[str, Any], list[Override], list[Problem]]:
    """The values with the changes made, in order.

    Args:
        values: A config's values; left as they are.
        texts: `key=value`, with `key` as `train.epochs`, `levels[0].layer.latent` or `levels.0.layer.latent`, and `value` as in
            TOML; what TOML cannot read is taken as a string. Tables that are missing are made.

    Returns:
        The new values, the changes, and the mistakes in the changes themselves.
    """
    changed = copy.deepcopy(dict(values))
    overrides: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        key, equals, value = text.partition("=")
        parts = re.sub(r"\[(\d+)\]", r".\1", key.strip()).split(".")
        if not equals or not all(re.fullmatch(r"[\w-]+", part) for part in parts):
            problems.append(Problem("", f"--set {text}: write --set key=value, as --set train.epochs=3"))
            continue
        try:
            overrides.append(Override(text, _put(changed, parts, _read(value.strip()))))
        except LookupError as error:
            problems.append(Problem("", f"--set {text}: {error.args[0]}"))
    return changed, overrides, problems


def named(problem: Problem, overrides: Iterable[Override]) -> Problem:
    """The problem, with the `--set` that brought it, if one did."""
    texts = [override.text for override in overrides if override.covers(problem.place)]
    return Problem(problem.place, f"{problem.message} (from --set {texts[-1]})") if texts else problem


def _read(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return read["value"] if len(read) == 1 else text


def _put(values: dict[str, Any], parts: list[str], value: Any) -> str:
    """Set the value at a path, making tables on the way; the path as a place."""
    container: Any = values
    place = ""
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        key: Any = part
        if isinstance(container, dict):
            if not last:
                container.setdefault(part, {})
        elif isinstance(container, list):
            if not part.isdecimal() or int(part) >= len(container):
                raise LookupError(f"{place} is a list of {len(container)}, counted from 0; it has no '{part}'")
            key = int(part)
        else:
            raise LookupError(f"{place} is {shown(container)}, which holds no '{part}'")
        place = join(place, key)
        if last:
            container[key] = value
        container = container[key]
    return place
