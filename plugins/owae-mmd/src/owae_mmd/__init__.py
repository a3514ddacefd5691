"""Maximum mean discrepancy for owae."""

from owae.hooks import hookimpl


@hookimpl
def owae_components() -> list[type]:
    return []
