"""Defines the errors that a user can meet, and the wording they share.

Every error that the user can mend derives from `OwaeError`; the command line ends with exit code 2 for those. Anything else that
escapes is a bug in owae or in a plugin.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class OwaeError(Exception):
    """The base of all errors that a user can mend: the message says what was found and what would work.

    Attributes:
        exit_code: What the command line ends with.
    """

    exit_code: int = 2


class PluginError(OwaeError):
    """A plugin could not be loaded, a component's name is unknown or claimed twice, or a component returns what it must not."""


class DataError(OwaeError):
    """The data are missing, unreadable or not of the kind that was asked for."""


class InputError(DataError, ValueError):
    """A tensor or array has another shape, type or range than what is done with it needs, or holds values that are not finite."""


class TrainingError(OwaeError):
    """Training cannot go on, or a run folder cannot be used."""


class StepError(TrainingError):
    """Training stopped at a step. Where several processes train one model, all of them stop there."""


class PeerError(TrainingError):
    """Another process of the same training has ended or cannot be reached."""


# The signals that stop a training: a user's, a scheduler's (SLURM's --signal=USR1 before it ends a job), and that of a terminal or
# connection that is gone. Windows has only the first two.
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class InterruptionError(OwaeError):
    """A signal stopped training, after the step under way was finished and saved. `exit_code` is 128 + the signal's number."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration.

    Attributes:
        place: Where it stands, as `levels[0].layer.hidden` (levels are counted from 0, bottom first); empty for the whole file.
        message: What was found and what would work.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class ConfigError(OwaeError):
    """One or more mistakes in a configuration, all reported at once in `problems`."""

    def __init__(self, problems: str | Sequence[Problem], source: str = "") -> None:
        self.problems = [Problem("", problems)] if isinstance(problems, str) else list(problems)
        self.source = source
        count = len(self.problems)
        where = f"{source}: " if source else ""
        if count == 1:
            text = f"{where}{self.problems[0]}"
        else:
            lines = "\n".join([f"{where}{count} mistakes", *(f"  {problem}" for problem in self.problems)]).split("\n")
            text = "\n".join(dict.fromkeys(lines))  # several unknown names may each bring the list of plugins that failed
        super().__init__(text)


def nearest(found: str, valid: Iterable[str]) -> str | None:
    """Finds the valid name closest to `found`, or None where none is close.

    >>> nearest("learning_rte", ["learning_rate", "epochs"])
    'learning_rate'
    """
    by_folded = {name.lower().replace("_", "-"): name for name in sorted(valid)}
    close = difflib.get_close_matches(found.lower().replace("_", "-"), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def suggestion(found: str, valid: Iterable[str]) -> str:
    """Words the end of a message about an unknown name: the nearest valid one, then all of them.

    >>> suggestion("mdd", ["mmd", "sinkhorn"])
    "did you mean 'mmd'? valid: mmd, sinkhorn"
    """
    names = sorted(valid)
    listed = f"valid: {', '.join(names)}" if names else "none is available"
    close = nearest(found, names)
    return f"did you mean '{close}'? {listed}" if close else listed
