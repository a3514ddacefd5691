"""The best value of a metric over the validations of a training: for the best checkpoint, and for stopping early."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal


class BestMetric:
    """Remembers the best value of a metric, and how often none has been better since; values that are not finite count as worse.

    After `patience` validations in a row without a better value, `done` is true.
    """

    def __init__(self, metric: str, mode: Literal["min", "max"] = "min", patience: int | None = None) -> None:
        self.metric, self.mode, self.patience = metric, mode, patience
        self.best: float | None = None
        self.waited = 0

    @property
    def done(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def update(self, values: Mapping[str, float]) -> bool:
        """Takes the numbers of one validation; returns whether the metric is better than ever."""
        value = values[self.metric]
        sign = -1 if self.mode == "max" else 1
        better = math.isfinite(value) and (self.best is None or sign * value < sign * self.best)
        if better:
            self.best = value
        self.waited = 0 if better else self.waited + 1
        return better

    def state(self) -> dict[str, Any]:
        return {"metric": self.metric, "mode": self.mode, "best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, Any] | None, old: Mapping[str, Any] | None = None) -> None:
        """Goes on from a `state()` of the same metric; `old` holds those of version 0.1.0, "early_stopping" and "best"."""
        old = old or {}
        for saved in (state, old.get("early_stopping"), old.get("best")):
            if saved and (saved["metric"], saved["mode"]) == (self.metric, self.mode):
                self.best, self.waited = saved["best"], saved["waited"]
                return
