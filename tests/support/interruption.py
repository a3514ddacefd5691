"""A run folder's files, and a signal to a training at a step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from owae.run.metrics import Metrics


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob(pattern)) if path.is_file()}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM to this very process while that step is logged."""
    write = Metrics.write

    def writing(self, fit, now, *more):
        if now.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return write(self, fit, now, *more)

    monkeypatch.setattr(Metrics, "write", writing)
