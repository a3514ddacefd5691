"""Tells whether a run is still the one that was trained: `run.json` holds its config and what its data are known by.

A continuation is refused where either differs (`require_same`); a run that is opened to read (`opened.py`) is refused where its config
was edited, and told of other data. How examples were split is an option of [data] or the order of the files, so the config and the
fingerprints of both splits hold it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, Field, PositiveInt

import owae
from owae.config.build import Built
from owae.config.config import Config
from owae.data.sources import read, reading
from owae.errors import DataError, TrainingError
from owae.files import clear_temporary, write_durably
from owae.interfaces import DataSource
from owae.registry.problems import join, validated
from owae.registry.registry import Registry
from owae.run.folder import CHECKPOINTS, CONFIG, INFO
from owae.torch_state import own_randomness
from owae.training.options import Options

FORMAT = 1


def _ascending(bounds: list[float]) -> list[float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("the first should be below the second")
    return bounds


class _Data(BaseModel, strict=True):
    """What `run.json` holds of the data; earlier versions of owae recorded less."""

    shape: Annotated[list[PositiveInt], Field(min_length=1)]
    value_range: Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
    dtype: str = "float32"
    class_names: list[str] | None = None
    units: dict[str, Any] | None = None
    fingerprints: dict[str, str] = {}


class _Info(BaseModel, strict=True):
    """What is read of `run.json`."""

    data: _Data
    config: dict[str, Any]


def read_info(folder: Path) -> dict[str, Any]:
    """Reads what `run.json` says of a run; `TrainingError` if it cannot be read, or is damaged."""
    try:
        info = json.loads((folder / INFO).read_text())
        _, wrong = validated(_Info, info)
        if wrong:
            raise ValueError(f"its {wrong[0]}")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TrainingError(f"{folder / INFO} is damaged or cannot be read: {error}") from error
    if info.get("format", FORMAT) != FORMAT:
        raise TrainingError(f"{folder / INFO} has format {info['format']!r}; this owae reads format {FORMAT}")
    return info


def write_info(folder: Path, config: Config, registry: Registry, built: Built, data: Mapping[str, Any]) -> None:
    """Writes what a run is, with the identity of its data, into its folder, and removes what interrupted writes have left there."""
    origins = {name: found for name, phase in built.beginnings.items() if (found := dict(phase.origin()))}
    if not origins and (folder / INFO).exists():  # gone on with: what was taken is in the checkpoint, and where from, in run.json
        origins = read_info(folder).get("origins", {})
    info = {
        "format": FORMAT,
        "versions": {"owae": owae.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "plugins": [{"name": name, "distribution": owner, "version": version} for name, owner, version in registry.plugins],
        "seed": config.train.seed,
        "data": data,
        "divergence": built.stack.divergence.describe(built.stack.matched_prior.shape),
        **({"origins": origins} if origins else {}),
        "config": config.to_dict(),
    }
    try:
        clear_temporary(folder)
        # First what marks the folder as a run: whatever interrupts the rest, --resume and --overwrite then know it for one.
        write_durably(folder / INFO, json.dumps(info, indent=2) + "\n")
        write_durably(folder / CONFIG, config.to_toml())
    except OSError as error:
        raise TrainingError(f"the run folder {folder} cannot be made or written: {error}") from error


def require_same(folder: Path, config: Config, registry: Registry, data: Mapping[str, Any]) -> None:
    """Refuses to go on with the run in a folder where its config is another, but for what may change, or its data are.

    Raises:
        TrainingError: The config differs.
        DataError: The data differ from their identity in `run.json`.
    """
    info = read_info(folder)
    if changed := since_training(folder, info, config, registry):
        raise TrainingError(f"{folder} was trained with another config; these differ: {'; '.join(changed)}")
    if changed := changes(info["data"], data):
        raise DataError(
            f"the data are not those that {folder} was trained on: {'; '.join(changed)}; --resume needs them as they were, and --out "
            "trains anew on these"
        )


# Configs


def since_training(folder: Path, info: Mapping[str, Any], config: Config, registry: Registry) -> list[str]:
    """Lists the places where a config is not that which the run in a folder was trained with, but for what may change.

    `info` is what `run.json` says of the run.
    """
    if info["config"] == config.to_dict():
        return []
    # Read as a config is: keys that owae did not have yet when the run began stand at their defaults, old ones are renamed.
    saved = Config.from_dict(info["config"], registry, source=str(folder / INFO))
    may_change = {f"train.{name}" for name in Options.resumable()}
    # A phase that has no checkpoint yet can still become another.
    may_change |= {name for name in {**saved.phases, **config.phases} if not any((folder / name / CHECKPOINTS).glob("*"))}
    if "fingerprints" in info["data"]:  # then it is seen whether data that have moved are the same
        may_change |= locations(saved, config)
    return differences(saved, config, may_change)


def differences(old: Config, new: Config, may_change: Collection[str]) -> list[str]:
    """Lists the places where two configs differ, but for some that may."""

    def compare(old: Any, new: Any, place: str) -> list[str]:
        if place in may_change:
            return []
        if isinstance(old, dict) and isinstance(new, dict):
            pairs = [(join(place, key), old.get(key), new.get(key)) for key in sorted({*old, *new})]
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            pairs = [(join(place, i), *pair) for i, pair in enumerate(zip(old, new, strict=True))]
        else:
            return [] if old == new else [f"{place}: was {old!r}, is {new!r}"]
        return [difference for at, one, other in pairs for difference in compare(one, other, at)]

    return compare(old.to_dict(), new.to_dict(), "")


def locations(*configs: Config) -> set[str]:
    """Names the places in configs that say where the data are: the options of [data] that hold a path in any of them."""
    return {f"data.{name}" for config in configs for name, value in config.data.options if _holds_path(value)}


def _holds_path(value: Any) -> bool:
    """Tells whether an option is a path or has one in it."""
    if isinstance(value, BaseModel):
        return any(_holds_path(item) for _, item in value)
    if isinstance(value, list | tuple):
        return any(_holds_path(item) for item in value)
    return isinstance(value, Path)


# Data


def identity(splits: Mapping[str, DataSource]) -> dict[str, Any]:
    """Returns what identifies the splits of a data set, as JSON values: shape, range, dtype, class names, units, sizes, fingerprints."""
    first = next(iter(splits.values()))
    with own_randomness(0):  # a source may draw while it is read
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
