"""Maximum mean discrepancy for owae: kernels × estimators × backends, one component, `mmd`."""

from owae.hooks import hookimpl
from owae_mmd.mmd import MMD

__all__ = ["MMD", "owae_components"]


@hookimpl
def owae_components() -> list[type]:
    return [MMD]
