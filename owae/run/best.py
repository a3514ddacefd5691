"""A metric watched from one validation to the next: for the best checkpoint, and for stopping early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal


class Watch:
    """Remembers the best value of a metric, and how often none has been better since.

    A value that is not finite is no better than any.

    Args:
        metric: Its name among the numbers that are seen.
        mode: Whether lower or higher is better.
        patience: Looks in a row without a better value after which `done` is true; never unless given.
    """

    def __init__(self, metric: str, mode: Literal["min", "max"] = "min", patience: int | None = None) -> None:
        self.metric, self.mode, self.patience = metric, mode, patience
        self.best: float | None = None
        self.waited = 0

    @property
    def done(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def see(self, values: Mapping[str, float]) -> bool:
        """Take the numbers of one validation; whether the metric is better than ever."""
        value = values[self.metric]
        sign = -1 if self.mode == "max" else 1
        better = abs(value) < float("inf") and (self.best is None or sign * value < sign * self.best)
        if better:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return better

    def state(self) -> dict[str, Any]:
        return {"metric": self.metric, "mode": self.mode, "best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a `state()`, if it is of the same metric."""
        if state and (state["metric"], state["mode"]) == (self.metric, self.mode):
            self.best, self.waited = state["best"], state["waited"]
