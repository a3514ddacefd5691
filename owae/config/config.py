"""A config: what to train, on what, how, as data that can be read, checked and written back.

Reading knows the components through a registry and makes none: no tensor of a model exists before the whole file is known to be
right. All mistakes come at once, in one `ConfigError`. `Config.to_toml` writes the effective config, every default filled in and
every path absolute, and reading that again gives an equal `Config`.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from owae.config import overrides as changes
from owae.config.old_keys import replace_old_keys
from owae.config.schema import LevelConfig, Spec
from owae.config.sections import Sections
from owae.config.weights import Weights
from owae.errors import ConfigError, nearest
from owae.registry.registry import Registry
from owae.training.options import Options


@dataclass(frozen=True)
class Config:
    """A whole config, valid.

    Attributes:
        data: What to train on.
        levels: Bottom first.
        weights: The table [weights].
        cost: The cost of levels without one of their own.
        regulariser: The regulariser of levels without one of their own, or None.
        prior: The prior on the deepest level.
        divergence: What closes the stack.
        train: The table [train].
        matched_level: The level at which stacking stops: the divergence compares its codes with its prior.
        source: The file it came from; of no account when configs are compared.
    """

    data: Spec
    levels: tuple[LevelConfig, ...]
    weights: Weights
    cost: Spec
    regulariser: Spec | None
    prior: Spec
    divergence: Spec
    train: Options
    matched_level: int
    source: str = field(default="", compare=False)

    @classmethod
    def load(cls, path: str | Path, registry: Registry, overrides: Iterable[str] = ()) -> Config:
        """Read a TOML file.

        Args:
            path: The file. Relative paths in it are relative to its folder.
            registry: The components it can name.
            overrides: Changes as `train.epochs=3`, made before anything is checked.

        Raises:
            ConfigError: The file cannot be read, or holds mistakes: all of them are in `problems`.
        """
        path = Path(path)
        return _checked(_parsed(path), registry, path.absolute().parent, str(path), overrides)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], registry: Registry, folder: str | Path = "", source: str = "") -> Config:
        """The same from values, as a TOML parser gives them; relative paths are relative to `folder`, else to the current one."""
        return _checked(values, registry, Path(folder).absolute(), source, ())

    def to_dict(self) -> dict[str, Any]:
        """The effective config as TOML values."""
        return {
            "matched_level": self.matched_level,
            "data": self.data.to_dict(),
            "weights": self.weights.to_dict(),
            "cost": self.cost.to_dict(),
            **({"regulariser": self.regulariser.to_dict()} if self.regulariser else {}),
            "prior": self.prior.to_dict(),
            "divergence": self.divergence.to_dict(),
            "train": self.train.model_dump(exclude_none=True),
            "levels": [level.to_dict() for level in self.levels],
        }

    def to_toml(self) -> str:
        """The effective config as a file."""
        return tomli_w.dumps(self.to_dict())


def _parsed(path: Path) -> dict[str, Any]:
    def refuse(reason: str) -> ConfigError:
        return ConfigError(reason, str(path))

    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        siblings = [file.name for file in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        close = nearest(path.name, siblings)
        raise refuse("no such file" + (f"; did you mean '{path.parent / close}'?" if close else "")) from error
    except IsADirectoryError as error:
        raise refuse("is a folder; a config is a TOML file") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file system takes
        raise refuse(f"cannot be read: {error}") from error
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refuse(f"is not UTF-8, as TOML must be: byte 0x{content[error.start]:02x} in line {line}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise refuse(f"is not valid TOML: {error}") from error


def _checked(values: Mapping[str, Any], registry: Registry, folder: Path, source: str, overrides: Iterable[str]) -> Config:
    values = copy.deepcopy(dict(values))
    replace_old_keys(values, source)
    changed, made, problems = changes.apply(values, overrides)
    replace_old_keys(changed, "--set")
    sections = Sections(registry, folder)
    parts = sections.read(changed)
    problems += [changes.named(problem, made) for problem in sections.problems]
    if problems:
        raise ConfigError(problems, source)
    return Config(**parts, source=source)
