"""Makes a config for data: looks at them, chooses, tries, writes."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from owae.config.config import Config
from owae.errors import ConfigError
from owae.files import write_durably
from owae.registry.registry import Registry
from owae_dev.init.facts import look
from owae_dev.init.opening import opened
from owae_dev.init.places import find
from owae_dev.init.recipe import recipe
from owae_dev.init.text import render
from owae_dev.init.trial import Trial, attempt

logger = logging.getLogger(__name__)

PATIENCE = 3600.0  # seconds beyond which phases after the first training are left to the reader


def write(place: str, registry: Registry, *, out: Path | None = None, changes: Sequence[str] = (), force: bool = False) -> Path:
    """Writes a config for data and returns its path; what was found and chosen goes to the log.

    Args:
        place: A path or the name of a set.
        registry: The components.
        out: The file; `<name of the data>.toml` in the current folder unless given, or of that name in a folder that exists.
        changes: Texts as `train.epochs=3`, which beat what is chosen.
        force: Whether a file that is there is replaced.

    Raises:
        OwaeError: There are no data, something is wrong with them, or the file exists. Nothing is written.
    """
    found = find(place, registry)
    target = Path(f"{found.name}.toml") if out is None else out / f"{found.name}.toml" if out.is_dir() else out
    if target.exists() and not force:
        raise ConfigError(f"{target} exists and is left as it is; --force replaces it, --out takes another name")
    data, train, test, chosen = opened(found, registry, [text for text in changes if _is_data(text)])
    facts = look(train, test)
    seen = [*found.found, *chosen, *facts.lines()]
    _tell("found", seen)
    chosen = recipe(facts)
    values: dict[str, Any] = {"data": _relative(data, target.absolute().parent), **chosen.values}
    config = Config.from_dict(values, registry, target.absolute().parent, str(target), changes)
    _tell("chosen", [f"{name}: {text}" for name, text in chosen.why.items()])
    trial = attempt(config, registry, train)
    left_out = _too_long(trial)
    _tell(
        "expected", [str(trial), *(f"[{name}] would take long and is left out: it stands there as a comment" for name in left_out)]
    )
    heading = [f"Written by `owae init {place}`. Found:", *(f"- {line}" for line in seen), f"Trains in {trial}."]
    text = render(heading, _changed(values, config, changes), chosen.why, left_out)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_durably(target, text)
    Config.load(target, registry)  # what was written is what was tried
    return target


def _is_data(text: str) -> bool:
    return text.strip().startswith("data.")


def _changed(values: dict[str, Any], config: Config, changes: Sequence[str]) -> dict[str, Any]:
    """The values to write: where something was changed, the effective ones of that table."""
    whole = config.to_dict()
    tables = {text.partition("=")[0].strip().replace("[", ".").partition(".")[0] for text in changes if not _is_data(text)}
    return {**values, **{name: whole[name] for name in tables if name in whole}}


def _relative(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The table [data] with paths below the config's folder relative to it."""

    def shown(value: Any) -> Any:
        if isinstance(value, str) and Path(value).is_absolute() and Path(value).is_relative_to(folder):
            return Path(os.path.relpath(value, folder)).as_posix()
        return value

    return {key: shown(value) for key, value in data.items()}


def _too_long(trial: Trial) -> list[str]:
    phases = [each for each in trial.trainings if each.name != "train"]
    return [each.name for each in phases] if sum(each.total for each in phases) > PATIENCE else []


def _tell(heading: str, lines: Sequence[str]) -> None:
    for line in lines:
        logger.info("%s: %s", heading, line)
