"""What commands that take a config share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from owae.config.config import Config
    from owae.registry.registry import Registry

logger = logging.getLogger(__name__)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file that says what to train.", show_default=False)]
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
    """The config, and the components it was checked against. Plugins that failed are logged.

    Raises:
        ConfigError: The config has mistakes.
    """
    from owae.config.config import Config
    from owae.registry.registry import Registry

    registry = Registry.discover()
    for failure in registry.failures:
        logger.warning("plugin '%s' of '%s' failed: %s", failure.plugin, failure.distribution, failure.reason)
    return Config.load(path, registry, overrides or ()), registry
