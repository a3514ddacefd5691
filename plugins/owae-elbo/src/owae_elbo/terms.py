"""The Markov hierarchical VAE is the same stack.

The negative evidence lower bound of the model of Eqs. 1 and 2 is

    E_q [ −log p(x | z_1) − Σ_{i=1}^{N−1} log p(z_i | z_{i+1}) − log p(z_N) + Σ_{i=1}^{N} log q(z_i | z_{i−1}) ],

one term a level below, one at the top, one an encoder. So it is Eq. 14 with every weight 1, the cost `gaussian-nll` at every level,
the divergence `cross-entropy` at the top, and the regulariser `entropy` with penalty 1 at every level (Eq. 17). The expectations
over q are by the stack's one draw a level, those of `log q` in closed form.

    [[levels]]
    layer = { kind = "mlp", latent = 32 }
    cost = { kind = "gaussian-nll" }
    regulariser = { kind = "entropy" }
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.distributions import Dirac, Distribution
from owae.interfaces import Cost, Divergence, Prior, Regulariser, Shape
from owae.model.defaults import StandardNormal

LOG_2PI = math.log(2 * math.pi)
# Below this a variance estimated from samples counts as this, so that a cloud of equal points still has a density.
SMALLEST_VARIANCE = 1e-6


def gaussian_nll(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """`−log N(x; mean, variance)` of each row, summed over the event: (B,)."""
    return (0.5 * ((x - mean).square() / variance + variance.log() + LOG_2PI)).flatten(1).sum(1)


class GaussianNLL(Cost):
    """`−log p(x | z)` of a Gaussian decoder, `Σ_d ½ [(x_d − μ_d)² / σ²_d + log σ²_d + log 2π]`. May be negative.

    Where the decoder is deterministic, and between two points, the variance is `variance`. Unlike the costs of optimal transport
    this reads the decoder's density: `expected` is not the mean of `forward` over the decoder's draws.

    Args:
        variance: The variance where the decoder has none of its own; 1 makes the cost half the squared error, up to a constant.
    """

    name = "gaussian-nll"

    def __init__(self, *, variance: Annotated[float, Field(gt=0)] = 1.0) -> None:
        super().__init__()
        self.variance = variance

    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        return gaussian_nll(x, y, torch.full_like(y, self.variance))

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        """`−log p(x)`."""
        return gaussian_nll(x, p.mean, torch.where(p.variance > 0, p.variance, self.variance))


class Entropy(Regulariser):
    """Minus the encoder's entropy, `E log q(z | x) = −Σ_d ½ log(2πe σ²_d)`. May be negative.

    Raises:
        ValueError: The encoder is deterministic, so that its entropy would be minus infinity.
    """

    name = "entropy"

    def forward(self, q: Distribution) -> Float[Tensor, " B"]:
        if isinstance(q, Dirac):
            raise ValueError("entropy needs an encoder with noise; this one is deterministic (its variance is 0 everywhere)")
        return -0.5 * (q.variance.log() + LOG_2PI + 1).flatten(1).sum(1)


class CrossEntropy(Divergence):
    """`−E_{z ~ Q} log p(z)`: the term that the prior adds to the negative evidence lower bound.

    Against N(0, I) in closed form, `mean_z Σ_d ½ (z²_d + log 2π)`. Samples have no density, so any other prior, known by draws
    alone, is taken for the Gaussian with their mean and variances; the objective is then no longer a bound on the likelihood.
    Where both sides are equal it is not 0 but their entropy.
    """

    name = "cross-entropy"

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        variance = y.var(0, correction=0).clamp(min=SMALLEST_VARIANCE)
        return gaussian_nll(x, y.mean(0), variance).mean()

    def to_prior(self, x: Float[Tensor, "n *z"], prior: Prior) -> Float[Tensor, ""]:
        x = self.checked(x)
        if not isinstance(prior, StandardNormal):
            return super().to_prior(x, prior)
        return gaussian_nll(x, torch.zeros_like(x), torch.ones_like(x)).mean()

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "estimator": "closed form against N(0, I), else the Gaussian of the draws' moments",
            "at equality": "the entropy of Q, not 0",
        }
