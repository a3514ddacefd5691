"""Arguments and functions that commands with a config share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from owae.files import expanded

if TYPE_CHECKING:
    from owae.config.config import Config
    from owae.registry.registry import Registry

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A TOML file that says what to train.", show_default=False, parser=expanded)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change the config, as train.epochs=3 or levels[0].layer.latent=16; may be repeated.",
        show_default=False,
    ),
]


def load(path: Path, overrides: list[str] | None) -> tuple[Config, Registry]:
    """Returns the config, and the components it was checked against; a `ConfigError` if it has mistakes."""
    from owae.config.config import Config
    from owae.registry.registry import Registry

    registry = Registry.discover()
    return Config.load(path, registry, overrides or ()), registry
