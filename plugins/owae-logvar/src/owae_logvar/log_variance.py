"""Keeps encoders from turning deterministic (Eq. 17; Rubenstein et al. 2018).

Levels between the data and the top are matched to no prior, so nothing but this penalty stops a wide latent's encoder from
shrinking its variance to zero. It is 0 at variance 1 and grows on both sides: the absolute value stands inside the sum, or a
coordinate above 1 would make up for one below.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from owae.distributions import Dirac, Distribution
from owae.interfaces import Regulariser


class LogVariance(Regulariser):
    """`Σ_d |log Σ_d|`: the absolute log-variances of an encoder, summed over the event's coordinates (Eq. 17).

    Raises:
        ValueError: The encoder is deterministic, so that its penalty would be infinite.
    """

    name = "log-variance"

    def forward(self, q: Distribution) -> Float[Tensor, " B"]:
        if isinstance(q, Dirac):
            raise ValueError("log-variance needs an encoder with noise; this one is deterministic (its variance is 0 everywhere)")
        return q.variance.log().abs().flatten(1).sum(1)
