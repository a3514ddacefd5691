"""Keys of earlier versions, replaced by what they have become, so that configs and run folders of those versions go on to open.

A config of a version that is not known yet is refused instead of being misread.
"""

from __future__ import annotations

import logging
from typing import Any

from owae.errors import ConfigError, Problem

NEWEST = 1  # The version of configs; raised when a key's meaning changes. A key that is only renamed is replaced below.

logger = logging.getLogger(__name__)


def replace_old_keys(values: dict[str, Any], source: str) -> None:
    """Replaces the old keys in a config's values, in place; one line of the log for each."""

    def say(text: str) -> None:
        logger.info("%s%s", f"{source}: " if source else "", text)

    if "stacked" in values:
        values["matched_level"] = values.pop("stacked")
        say("'stacked' is now called 'matched_level'")
    train = values.get("train")
    if not isinstance(train, dict):
        return
    if "strategy" in train:
        del train["strategy"]
        say("'strategy' in [train] is ignored: several devices always share the batch")
    if isinstance(train.get("early_stopping"), dict):
        stopping, best = train.pop("early_stopping"), train.get("best")
        # Where both were there, `best` keeps its own metric: its checkpoint was chosen by that.
        best = {"metric": best} if isinstance(best, str) else best or stopping
        train["best"] = {**best, "patience": stopping.get("patience", 10)}
        say("'early_stopping' in [train] is now the patience of 'best', and by the metric of that")


def refuse_newer(version: object, source: str) -> None:
    """Refuses a config that a newer owae wrote, before its new keys are taken for mistakes; `ConfigError`."""
    if type(version) is int and version > NEWEST:
        message = f"found {version}; this owae reads configs up to version {NEWEST}, a newer one (pip install -U owae) would work"
        raise ConfigError([Problem("version", message)], source)
