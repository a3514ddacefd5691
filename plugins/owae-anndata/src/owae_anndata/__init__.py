"""Single cells for owae: `h5ad` files as a data source, and codes written to one."""

from __future__ import annotations

from owae.hooks import hookimpl


@hookimpl
def owae_components() -> list[type]:
    from owae_anndata.source import H5ad

    return [H5ad]
