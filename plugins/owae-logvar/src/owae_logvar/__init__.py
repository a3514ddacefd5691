"""The log-variance penalty for owae."""

from owae.hooks import hookimpl
from owae_logvar.log_variance import LogVariance


@hookimpl
def owae_components() -> list[type]:
    return [LogVariance]
