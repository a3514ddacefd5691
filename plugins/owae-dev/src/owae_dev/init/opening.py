"""Opens both splits of a source, and settles the options that only its examples can tell."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from owae.config import overrides
from owae.data.sources import examples
from owae.errors import ConfigError, DataError
from owae.interfaces import DataSource
from owae.registry.options import options_model, validated
from owae.registry.registry import Registry
from owae_dev.init.facts import looked_at
from owae_dev.init.places import Place

# What is tried where a source refuses its files, and what it means.
_UNVERIFIED = ("verify", False, "taken, though they are not the official files")
MENDED: dict[str, tuple[str, bool, str]] = {
    "image-folder": ("skip_broken", True, "left out, for they cannot be read"),
    "table": ("skip_broken", True, "left out, for they cannot be read"),
    "shards": ("skip_broken", True, "left out, for they cannot be read"),
    "torchvision": _UNVERIFIED,
    "mnist": _UNVERIFIED,
}
MANY_GENES = 2000
SIDE = 64  # pixels of a table's pictures at most
MANY_TEXTS, MANY_CLASSES = 8, 50  # columns that are tried for classes, and classes that they may have
PLAIN = (0.1, 10.0)  # standard deviations with which numbers are learnt as they are


def opened(place: Place, registry: Registry, changes: Iterable[str]) -> tuple[dict[str, Any], DataSource, DataSource, list[str]]:
    """Returns the table [data] with what had to be changed, both splits, and why.

    Args:
        place: Where the data are.
        registry: The sources.
        changes: `data.KEY=VALUE` texts that beat what was found.

    Raises:
        DataError: The source cannot be opened.
        ConfigError: A change is wrong.
    """
    values: dict[str, Any] = {"data": dict(place.data)}
    _, problems = overrides.apply(values, changes)
    if problems:
        raise ConfigError(problems)
    data = values["data"]
    for key, value in data.items():  # a path of --set is relative to where it was said, as one on the command line
        if isinstance(value, str) and {"path", "root"} & {*key.split("_")}:
            data[key] = str(Path(value).absolute())
    try:
        return _filled_in(data, registry)
    except DataError as error:
        way = MENDED.get(data["kind"])
        if way is None or way[0] in data:
            raise
        key, value, why = way
        try:
            data, train, test, said = _filled_in({**data, key: value}, registry)
        except DataError:
            raise error from None
        return data, train, test, [*said, f"{why} ({key} = {str(value).lower()}): {error}"]


def _filled_in(data: dict[str, Any], registry: Registry) -> tuple[dict[str, Any], DataSource, DataSource, list[str]]:
    settle = SETTLED.get(data["kind"])
    data, said = (data, []) if settle is None else settle(data, _Looks(registry))
    train, test = (_split(data, registry, split) for split in ("train", "test"))
    return data, train, test, said


def _as_they_are(data: dict[str, Any], look: _Looks) -> tuple[dict[str, Any], list[str]]:
    """Leaves vectors of floats unscaled where their scale is one that networks learn, for a range says little of what has tails."""
    if {"rescale", "value_range"} & data.keys():
        return data, []
    plain = {**data, "rescale": False}
    train = look(plain)
    low, high = train.value_range
    rows = torch.arange(min(len(train), 1000))
    if len(train.shape) > 1 or train.batch(rows[:1]).dtype == torch.uint8 or (low >= 0 and high <= 1):
        return data, []
    spread = float(examples(train, rows).double().nan_to_num().std())
    if PLAIN[0] <= spread <= PLAIN[1]:
        return plain, [f"numbers stay as they are (rescale = false), from {low:.3g} to {high:.3g}"]
    brought = (
        f"numbers from {low:.3g} to {high:.3g} are brought to [-1, 1], for a standard deviation of {spread:.3g} is learnt badly"
    )
    return {**data, "value_range": [-1.0, 1.0]}, [brought]


def _depth(data: dict[str, Any], look: _Looks) -> tuple[dict[str, Any], list[str]]:
    """Finds the range of whole numbers that use little of their type's, as those of a camera of 12 bits in files of 16."""
    if {"source_range", "value_range"} & data.keys():
        return data, []
    try:
        train = look(data)
        if in_bytes := train.units is None:  # grey of 16 bits is read as 8 unless a range is said
            train = look({**data, "source_range": [0, 65535]})
    except (DataError, ConfigError, ValueError):
        return data, []  # whoever opens it in earnest says so, or mends it
    if train.units is None or tuple(train.value_range) != (0.0, 1.0):
        return data, []
    shift, scale = train.units["shift"][0], train.units["scale"][0]
    ends = [examples(train, rows).aminmax() for rows in looked_at(train).split(100)]
    least = round(min(float(end.min) for end in ends) * scale + shift)
    most = round(max(float(end.max) for end in ends) * scale + shift)
    low, high = (0, (1 << most.bit_length()) - 1) if shift == 0 else (least, most)
    if scale < 255 or not least < most or high - low > scale / 2 or (in_bytes and most <= 255):  # the last are bytes indeed
        return data, []
    said = f"numbers from {least:,} to {most:,} use little of their type's range; {low:,} to {high:,} is taken for all of it (source_range)"
    return {**data, "source_range": [low, high]}, [said]


def _columns(data: dict[str, Any], look: _Looks) -> tuple[dict[str, Any], list[str]]:
    """Finds the classes; of pictures settles the size, and standardises columns of numbers, whose units may differ."""
    data, classes = _classes(data, look)
    sized, said = _sizes(data, look)
    if said or "standardise" in data:
        return sized, [*classes, *said]
    train = look(data)
    low, high = train.value_range
    if train.batch(torch.arange(1)).dtype == torch.uint8:  # pictures
        return data, classes
    if low >= 0 and high <= 1 and float(examples(train, torch.arange(min(len(train), 1000))).std()) >= PLAIN[0]:
        return data, classes
    said = f"numbers from {low:.3g} to {high:.3g} are brought to mean 0 and standard deviation 1, column by column (standardise); "
    return {**data, "standardise": True}, [*classes, said + "what is sampled is in their own units again"]


def _classes(data: dict[str, Any], look: _Looks) -> tuple[dict[str, Any], list[str]]:
    """Takes the one column of few texts for the classes where none is called so; leaves out one that is called so and holds fractions."""
    if "label" in data:
        return data, []
    try:
        train = look(data)
    except DataError as error:
        if "label = false" not in str(error):
            return data, []  # whoever opens it in earnest says so, or mends it
        return {**data, "label": False}, [f"no classes are read (label = false): {str(error).partition(';')[0]}"]
    columns = [] if train.labels is not None else getattr(train, "unused", [])[:MANY_TEXTS]
    found: dict[str, int] = {}
    for name in columns:
        with contextlib.suppress(DataError):  # dates and such are no classes
            names = look({**data, "label": name}).class_names or ()
            if 1 < len(names) <= min(MANY_CLASSES, len(train) // 4):
                found[name] = len(names)
    if len(found) == 1:
        name, count = found.popitem()
        return {**data, "label": name}, [f"'{name}', whose {count} texts repeat, is taken for the classes (label)"]
    listed = ", ".join(f"'{name}' ({count} texts)" for name, count in found.items())
    return data, [f"columns that could be the classes: {listed}; label = '...' takes one"] if found else []


def _sizes(data: dict[str, Any], look: _Looks) -> tuple[dict[str, Any], list[str]]:
    """Resizes pictures that are large, or of several sizes."""
    if "size" in data:
        return data, []
    try:
        train = look(data)
    except DataError as error:
        common = re.search(r"size = \[(\d+), (\d+)\]", str(error))  # what the source proposes where sizes differ
        if common is None:
            raise
        size = _fitting(int(common[1]), int(common[2]))
        return {**data, "size": size}, [f"pictures have several sizes and are resized to {size[0]}×{size[1]} (size)"]
    if train.batch(torch.arange(1)).dtype != torch.uint8 or max(train.shape[1:]) <= SIDE:
        return data, []
    height, width = train.shape[1:]
    size = _fitting(height, width)
    return {**data, "size": size}, [f"pictures of {height}×{width} are resized to {size[0]}×{size[1]} (size)"]


def _fitting(height: int, width: int) -> list[int]:
    scale = min(1.0, SIDE / max(height, width))
    return [max(1, round(side * scale)) for side in (height, width)]


def _cells(data: dict[str, Any], look: _Looks) -> tuple[dict[str, Any], list[str]]:
    """Normalises counts, and keeps the most variable genes where there are many."""
    train = look(data)
    x, said, data = examples(train, torch.arange(min(len(train), 500))), [], dict(data)
    if "normalise" not in data and bool((x >= 0).all()) and bool((x == x.round()).all()):
        data["normalise"] = True
        said.append("whole numbers are taken for counts, scaled to 10,000 a cell, and their logarithms are learnt (normalise)")
    if "genes" not in data and train.shape[0] > MANY_GENES:
        data["genes"] = MANY_GENES
        said.append(f"of {train.shape[0]:,} genes the {MANY_GENES:,} of the largest variance are kept (genes)")
    return data, said


# What settles the options of a source, by its name.
SETTLED = {
    "arrays": _as_they_are,
    "h5ad": _cells,
    "hub": _columns,
    "image-folder": _depth,
    "shards": _sizes,
    "table": _columns,
}


class _Looks:
    """Opens the training examples of a table [data]; several questions to one table, one after another, open it once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._last: tuple[dict[str, Any], DataSource] | None = None

    def __call__(self, data: dict[str, Any]) -> DataSource:
        if self._last is None or self._last[0] != data:
            self._last = None  # what is done with need not be held beside the next
            with _unsaid():  # what is said of a source that is not kept would mislead
                self._last = dict(data), _split(data, self._registry, "train")
        return self._last[1]


@contextlib.contextmanager
def _unsaid() -> Iterator[None]:
    """Runs the block without logs below errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _split(data: dict[str, Any], registry: Registry, split: str) -> DataSource:
    options = {key: value for key, value in data.items() if key != "kind"}
    model, faults = validated(options_model(registry.get("data", data["kind"])), options)
    if model is None:
        raise ConfigError(faults, f"[data] of kind '{data['kind']}'")
    try:
        return registry.create("data", data["kind"], split, **dict(model))
    except OSError as error:
        raise DataError(f"data '{data['kind']}': {error}") from error
