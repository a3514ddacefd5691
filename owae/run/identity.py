"""Tells a run's data from others: what `run.json` holds of them, and how it is compared.

How examples were split is an option of [data] or the order of the files, so the config and the fingerprints of both splits hold it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from owae.config.config import Config
from owae.data.sources import read, reading
from owae.interfaces import DataSource
from owae.restoring import own_randomness


def identity(splits: Mapping[str, DataSource]) -> dict[str, Any]:
    """Returns what identifies the splits of a data set, as JSON values: shape, range, dtype, class names, units, sizes, fingerprints."""
    first = next(iter(splits.values()))
    with own_randomness(0, torch.device("cpu")):  # a source may draw while it is read
        dtype = str(read(first, torch.arange(1)).dtype).removeprefix("torch.")
        fingerprints = {name: fingerprint(source) for name, source in splits.items()}
    return {
        "shape": list(first.shape),
        "value_range": list(first.value_range),
        "dtype": dtype,
        "class_names": None if first.class_names is None else list(first.class_names),
        "units": None if first.units is None else dict(first.units),
        **{name: len(source) for name, source in splits.items()},
        "fingerprints": fingerprints,
    }


def misfits(saved: Mapping[str, Any]) -> list[str]:
    """Names what a saved identity has that is not of the kind that `identity` writes: someone has edited it."""

    def listed(value: Any, *kinds: type) -> bool:
        return isinstance(value, list) and all(type(each) in kinds for each in value)

    kinds = {
        "shape": lambda value: listed(value, int) and value and min(value) > 0,
        "value_range": lambda value: listed(value, int, float) and len(value) == 2 and value[0] < value[1],
        "dtype": lambda value: isinstance(value, str),
        "class_names": lambda value: value is None or listed(value, str),
        "units": lambda value: value is None or isinstance(value, dict),
        "fingerprints": lambda value: isinstance(value, dict),
    }
    return [name for name, fits in kinds.items() if name in saved and not fits(saved[name])]


def fingerprint(source: DataSource) -> str:
    """Hashes what a source says of its examples, and all labels, which are small."""
    labels = b"" if source.labels is None else source.labels.to("cpu", torch.int64).contiguous().numpy().tobytes()
    with reading(source):
        told = source.fingerprint()
    return hashlib.sha256(told.encode() + labels).hexdigest()


def changes(saved: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Says how data differ from those that a run was trained on, as far as its version of owae has recorded them."""
    plain = {name: value for name, value in found.items() if name not in ("fingerprints", "units")}
    said = [f"{name}: was {saved[name]}, is {value}" for name, value in plain.items() if saved.get(name) not in (None, value)]
    then, now = saved.get("fingerprints", {}), found["fingerprints"]
    other = [name for name in now if then.get(name, now[name]) != now[name]]
    return said or [f"other examples or labels in the {name} split" for name in other]


def locations(*configs: Config) -> set[str]:
    """Names the options of [data] that say where the data are: those that hold a path in any of the configs."""
    return {name for config in configs for name, value in config.data.options if _holds_path(value)}


def _holds_path(value: Any) -> bool:
    """Tells whether an option is a path or has one in it."""
    if isinstance(value, BaseModel):
        return any(_holds_path(item) for _, item in value)
    if isinstance(value, list | tuple):
        return any(_holds_path(item) for item in value)
    return isinstance(value, Path)
