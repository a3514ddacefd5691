"""What a figure can lack."""

from __future__ import annotations

from owae.errors import OwaeError


class NotDrawableError(OwaeError):
    """A figure does not exist for this model or these data, or lacks a library; others may. Its message says why."""
