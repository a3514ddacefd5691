"""Components that declare options and cannot be made, a valid config of them, and ways to spoil it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field

from owae import Config, Registry
from owae.errors import ConfigError
from owae.hooks import hookimpl
from owae.interfaces import Cost, DataSource, Divergence, LatentLayer, Regulariser

VALID = """
[data]
kind = "folder"
path = "pictures"

[[levels]]
layer = { kind = "dense", latent = 8, hidden = [16, 16] }

[[levels]]
layer = { kind = "dense", latent = 4 }

[[levels]]
layer = { kind = "dense", latent = 2 }

[weights]
reconstruction = { rule = "power", base = 0.1, per_dimension = true }
match = 1e-3

[divergence]
kind = "energy"

[train]
epochs = 3
optimizer = { name = "Adam", lr = 1e-3 }
"""


class Extra(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 3
    depth: int | None = None


class Dense(LatentLayer):
    name = "dense"

    def __init__(
        self,
        in_shape: tuple[int, ...],
        /,
        *,
        latent: Annotated[int, Field(ge=1)],
        hidden: Sequence[int] = (8, 8),
        output: Literal["linear", "sigmoid"] = "linear",
        extras: list[Extra] = [],  # noqa: B006 # as a plugin's author might write it
        limit: float = math.inf,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        raise AssertionError("reading a config makes no component")

    encode = decode = None  # pyright: ignore[reportAssignmentType]


class Folder(DataSource):
    name = "folder"

    def __init__(
        self,
        split: str,
        /,
        *,
        path: Path,
        others: list[Path] = [],  # noqa: B006 # as a plugin's author might write it
        cache: Path | None = None,
        size: tuple[int, int] = (8, 8),
    ) -> None:
        raise AssertionError("reading a config makes no component")

    __len__ = __getitem__ = None  # pyright: ignore[reportAssignmentType]


class Energy(Divergence):
    name = "energy"

    def __init__(self, *, scale: float = 1, scales: float | tuple[float, ...] = (1, 2)) -> None:
        raise AssertionError("reading a config makes no component")

    forward = None  # pyright: ignore[reportAssignmentType]


class Flat(Regulariser):
    name = "flat"
    forward = None  # pyright: ignore[reportAssignmentType]


class Odd(Cost):
    name = "odd"

    def __init__(self, *, exponent: int = 1.5) -> None:  # pyright: ignore[reportArgumentType] # the mistake that is looked for
        super().__init__()

    forward = None  # pyright: ignore[reportAssignmentType]


class Plugin:
    @hookimpl
    def owae_components(self) -> list[type]:
        return [Dense, Folder, Energy, Flat, Odd]


def registry() -> Registry:
    registry = Registry()
    registry.register(Plugin(), name="toys")
    assert not registry.failures
    return registry


GONE = "(gone)"  # a text, so that the names of tests are the same in every process
POWER = {"rule": "power", "base": 0.1, "per_dimension": True}


def edited(edits: dict[str, Any]) -> str:
    """The valid file with values put at dotted paths, or taken away."""
    values = tomllib.loads(VALID)
    for path, value in edits.items():
        *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        table: Any = values
        for part in way:
            table = table[part]
        if value == GONE:
            del table[last]
        else:
            table[last] = value
    return tomli_w.dumps(values)


def load(folder: Path, registry: Registry, text: str = VALID, *overrides: str) -> Config:
    path = folder / "some.toml"
    path.write_text(text)
    return Config.load(path, registry, overrides)


def mistakes(folder: Path, registry: Registry, text: str, *overrides: str) -> dict[str, str]:
    """What is told of a file, by place."""
    with pytest.raises(ConfigError) as caught:
        load(folder, registry, text, *overrides)
    assert str(caught.value).startswith(str(folder / "some.toml"))
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
    return {problem.place: problem.message for problem in caught.value.problems}
