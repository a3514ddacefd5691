"""Ground costs for owae, beside those of the core (squared Euclidean, Euclidean): the l1 distance."""

from owae.hooks import hookimpl
from owae_costs.absolute import L1


@hookimpl
def owae_components() -> list[type]:
    return [L1]
