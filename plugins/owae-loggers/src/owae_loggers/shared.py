"""What the loggers of values and pictures share."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from owae.errors import TrainingError


def require(logger: str, package: str) -> None:
    """Makes sure that a package can be imported.

    Raises:
        TrainingError: It is not installed or broken; the message has the extra to install.
    """
    try:
        importlib.import_module(package)
    except Exception as error:  # a package that is there but broken raises whatever it likes
        raise TrainingError(
            f"logger '{logger}' cannot be used: {type(error).__name__}: {error}; `pip install 'owae-loggers[{logger}]'` installs what "
            "it needs, or take it out of train.loggers"
        ) from error


def numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """The finite numbers of a logged step, without the step's own."""
    return {name: value for name, value in values.items() if value is not None and name != "step"}
