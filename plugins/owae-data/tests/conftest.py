"""Fixtures that tests of data share."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures import worker

__all__ = ["store", "worker"]


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of its own in place of the user's for data."""
    folder = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("OWAE_DATA", str(folder))
    return folder
