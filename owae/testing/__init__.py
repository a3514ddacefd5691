"""Checks the laws of `owae.interfaces`, in one line a component, in any test framework:

    from owae.testing import check_divergence, check_layer

    def test_contract():
        check_divergence(MeanDistance(scale=2.0))
        check_layer(MyLayer, in_shape=(1, 8, 8), latent=4)

A component that breaks a law raises `AssertionError`, whose message says which law, and what was found. All checks take `device`,
where to try the component, and `report`, a function that is called with every law and what was found where it is broken (else an empty
text), in place of raising the first breach. They leave torch's random numbers and gradient mode as they found them.

A component that breaks a law by intention, such as a divergence that is not 0 between equal samples, says so with a keyword of the
check, and should say so in its docstring.

May import: the files of owae itself, model, registry.
Start reading at `laws.py`: how laws are run; `require.py`: what they are made of; then the file of an interface.
"""

from owae.testing.costs import check_cost, check_regulariser
from owae.testing.divergences import check_divergence
from owae.testing.layers import check_layer
from owae.testing.priors import check_prior
from owae.testing.sources import check_source

__all__ = ["check_cost", "check_divergence", "check_layer", "check_prior", "check_regulariser", "check_source"]
