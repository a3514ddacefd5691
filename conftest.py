"""What the tests of the core and of all plugins share: no test depends on how busy the machine is, or on the order of tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# An example that a busy machine takes long for is no fault.
settings.register_profile("owae", deadline=None)
settings.load_profile("owae")


@pytest.fixture(autouse=True)
def same_draws_in_any_order() -> None:
    """Seeds all generators, by a number that no test uses for its data."""
    from owae.restoring import seed_generators

    seed_generators(20_261_126)
