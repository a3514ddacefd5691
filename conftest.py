"""What the tests of the core and of all plugins share."""

from __future__ import annotations

from hypothesis import settings

# An example that a busy machine takes long for is no fault.
settings.register_profile("owae", deadline=None)
settings.load_profile("owae")
