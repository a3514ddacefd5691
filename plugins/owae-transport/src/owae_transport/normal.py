"""Divergences from the standard normal prior without drawing from it, and `W₂²` on a line between n points and N(0, 1).

For sorted points `x_1 ≤ … ≤ x_n` both answers have the form `mean (x_i − s_i)² + v`, with scores s that depend on n alone.

- Against N(0, 1) itself ("population"), point i goes to the slice of probability between `(i−1)/n` and `i/n`. Its mean is
  `s_i = n (φ(q_{i−1}) − φ(q_i))`, with `q_i = Φ⁻¹(i/n)`; `v = 1 − mean s_i²` is what the slices spread within.
- Against n draws, in the mean ("expected"): transport between equal numbers of points is `mean (x_i − y_(i))²`, in which the order
  statistics `y_(i)` stand linearly and in squares, which sum to those of the draws. So the mean has the same form with
  `s_i = E y_(i)`, the expected order statistics ("rankits"). It exceeds the first by what n draws miss of their distribution.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from owae.interfaces import Divergence, Prior
from owae.model.defaults import StandardNormal
from owae.tensor_checks import full_precision
from owae_transport.lines import ordered

Against = Literal["expected", "population"]


class ClosedAgainstNormal(Divergence):
    """A divergence with a closed form against the standard normal prior; against any other it draws.

    Args:
        prior: What stands for the standard normal prior.
    """

    def __init__(self, prior: Against) -> None:
        super().__init__()
        self.prior: Against = prior

    @abstractmethod
    def to_normal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """The divergence of `x ~ Q` from N(0, I), as `prior` says."""

    def to_prior(self, x: Float[Tensor, "n *z"], prior: Prior) -> Float[Tensor, ""]:
        if type(prior) is not StandardNormal:  # a subclass may draw otherwise
            return super().to_prior(x, prior)
        x = self.checked(x).flatten(1)
        with full_precision(x.device):
            return self.to_normal(x)


def transport_to_normal(x: Float[Tensor, "n k"], against: Against) -> Float[Tensor, " k"]:
    """`W₂²` between each column of x and N(0, 1) ("population"), or its mean over as many draws of N(0, 1) ("expected")."""
    scores, spread = _table(len(x), against, x.device, x.dtype)
    return (ordered(x) - scores[:, None]).square().mean(0) + spread


@lru_cache(maxsize=32)
def _table(n: int, against: Against, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, float]:
    """The scores and the spread for n points."""
    import numpy as np

    scores = expected_order_statistics(n) if against == "expected" else slice_means(n)
    # Through numpy's own float32: no float64 tensor shall come up in a float32 training step.
    narrow = np.asarray(scores, dtype="float64" if dtype == torch.float64 else "float32")
    return torch.from_numpy(narrow).to(device=device, dtype=dtype), float(1 - np.mean(np.square(scores)))


def slice_means(n: int):
    """The means of N(0, 1) over n slices of equal probability, ascending, as a float64 array.

    >>> slice_means(2).round(4)
    array([-0.7979,  0.7979])
    """
    import numpy as np
    from scipy.special import ndtri

    heights = np.exp(-(ndtri(np.arange(1, n) / n) ** 2) / 2) / np.sqrt(2 * np.pi)
    return -n * np.diff(heights, prepend=0, append=0)


def expected_order_statistics(n: int):
    """The expected order statistics of n draws of N(0, 1), ascending, as a float64 array; within 1e-9.

    The density of the i-th is `φ(z) Φ(z)^{i−1} (1 − Φ(z))^{n−i}` up to a constant. It is smooth and falls fast, so equidistant
    nodes around its centre integrate it, and the constant with it, to rounding.

    >>> expected_order_statistics(3).round(4)
    array([-0.8463,  0.    ,  0.8463])
    """
    import numpy as np
    from scipy.special import log_ndtr, ndtri

    lower = np.arange(1, n // 2 + 1)[:, None]  # the upper half mirrors the lower
    share = lower / (n + 1)
    centre = ndtri(share)
    width = np.sqrt(share * (1 - share) / (n + 2)) * np.sqrt(2 * np.pi) * np.exp(centre**2 / 2)
    z = centre + width * np.linspace(-24, 12, 181)
    log_density = (lower - 1) * log_ndtr(z) + (n - lower) * log_ndtr(-z) - z**2 / 2
    density = np.exp(log_density - log_density.max(1, keepdims=True))
    half = (density * z).sum(1) / density.sum(1)
    return np.concatenate([half, np.zeros(n % 2), -half[::-1]])
