"""Trains the tiny stack."""

from fixtures import make, registry

__all__ = ["make", "registry"]
