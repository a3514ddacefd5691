"""Divergences from transport on lines: O(n log n), without a scale to choose; and a relative of theirs, Cramér–Wold, O(n²).

On a line, optimal transport is sorting: `W₂²` of two clouds is the mean square between their quantiles. Clouds in R^d are compared
through their projections on lines: on all of them in the mean (sliced), on the worst (max-sliced), on the axes alone (marginal). A
projection of N(0, I) is N(0, 1), so that against the standard normal prior the other side needs no draws.

Cramér–Wold smooths every projection and takes the squared L² distance of the densities instead, which has a closed form.

SIGReg compares characteristic functions of projections with Gaussian weights, O(n).

None takes a root.
"""

from owae.hooks import hookimpl
from owae_transport.cramer_wold import CramerWold
from owae_transport.max_sliced import MaxSliced
from owae_transport.sigreg import SigReg
from owae_transport.sliced import MarginalWasserstein, SlicedWasserstein

__all__ = ["CramerWold", "MarginalWasserstein", "MaxSliced", "SigReg", "SlicedWasserstein"]


@hookimpl
def owae_components() -> list[type]:
    return [SlicedWasserstein, MarginalWasserstein, MaxSliced, CramerWold, SigReg]
