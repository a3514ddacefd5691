"""Entropic optimal transport for owae, computed by geomloss.

For clouds `x` and `y` of equal total mass and a cost `c`, entropic transport is (Cuturi 2013)

    OT_ε(x, y) = min_π  Σ_ij π_ij c(x_i, y_j) + ε · KL(π | x ⊗ y),

over couplings π of the two. It is not zero at `x = y`; the debiased Sinkhorn divergence (Feydy et al. 2019, Eq. 3) is:

    S_ε(x, y) = OT_ε(x, y) − ½ OT_ε(x, x) − ½ OT_ε(y, y).

**Convention.** Here `c = ‖x − y‖^p`, so that the value tends to `W_p^p` as the blur tends to 0: `W₂²` for `p = 2` and `W₁` for
`p = 1`, no root taken. geomloss counts `½‖x − y‖²` for `p = 2`, half of ours, with `ε = blur²`; in our units `ε = 2 · blur²`. For
`p = 1` the two agree, with `ε = blur`.

With `reach` the marginals are held softly, by `ρ · KL` with `ρ = 2 · reach²` (`p = 2`) or `reach` (`p = 1`): mass farther away than
`reach` is rather destroyed than moved (Séjourné et al. 2019).

The noise floor is high in many dimensions: two samples of one distribution lie as far apart as their points do.
`owae.model.noise_floor` measures it.
"""

from owae.hooks import hookimpl
from owae_sinkhorn.sinkhorn import Sinkhorn

__all__ = ["Sinkhorn"]


@hookimpl
def owae_components() -> list[type]:
    return [Sinkhorn]
