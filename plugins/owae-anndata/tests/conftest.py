"""A fixture that tests of data share."""

from fixtures import worker

__all__ = ["worker"]
