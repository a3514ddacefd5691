"""A mixture of diagonal Gaussians: its components move in training, or are fitted to codes by expectation maximisation."""

from __future__ import annotations

import logging
import math
import warnings
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from owae.distributions import at_least_float32
from owae.errors import DataError
from owae.interfaces import Prior, Shape
from owae.tensor_checks import at_least, check_events, check_values
from owae_priors.fixed import positive

log = logging.getLogger(__name__)


class GaussianMixture(Prior):
    """`Σ_k π_k N(μ_k, diag σ_k²)` over all coordinates of an event.

    The means and the logarithms of the deviations are parameters, learnt with the stack through the draws. The shares `π_k` start
    equal and no gradient reaches them, for which component a draw comes from is no differentiable choice; `fit` sets them. A prior that
    moves with the codes shapes them less: the match of both can be good wherever they are.

    Args:
        components: The number of components.
        spread: Their standard deviation at first. The means are drawn from `N(0, (1 − spread²) I)` with torch's seed, so that the whole
            has variance 1 in the mean; with `spread = 1` all start at the origin.
        learn: Whether training moves the components; otherwise they stay where they started, or where `fit` has put them.
    """

    name = "gaussian-mixture"
    weights: Tensor

    def __init__(
        self,
        shape: Shape,
        /,
        *,
        components: Annotated[int, Field(ge=1)] = 10,
        spread: Annotated[float, Field(gt=0, le=1)] = 0.5,
        learn: bool = True,
    ) -> None:
        super().__init__(shape)
        at_least(1, components=components)
        positive(spread=spread)
        size = (components, math.prod(self.shape))
        between = math.sqrt(max(0.0, 1 - spread**2)) if components > 1 else 0.0
        self.means = nn.Parameter(between * torch.randn(size), requires_grad=learn)
        self.log_deviations = nn.Parameter(torch.full(size, math.log(spread if components > 1 else 1.0)), requires_grad=learn)
        self.register_buffer("weights", torch.full((components,), 1 / components))

    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        # Half precision has no weighted choice on some devices.
        chosen = torch.multinomial(at_least_float32(self.weights), n, replacement=True)
        means = self.means[chosen]
        return (means + self.log_deviations[chosen].exp() * torch.randn_like(means)).reshape(n, *self.shape)

    @property
    def noise_shape(self) -> Shape:
        """Numbers that `from_noise` makes a draw of."""
        return (1 + self.means.shape[1],)

    def from_noise(self, noise: Float[Tensor, "B numbers"]) -> Float[Tensor, "B *z"]:
        """Makes draws of standard normal noise, the first number of which chooses the component: for samplers that are given noise."""
        share = (1 + torch.erf(noise[:, :1] / math.sqrt(2))) / 2
        ends = (self.weights / self.weights.sum()).cumsum(0)[:-1]
        chosen = (share >= ends).sum(1)
        return (self.means[chosen] + self.log_deviations[chosen].exp() * noise[:, 1:]).reshape(-1, *self.shape)

    def log_prob(self, z: Float[Tensor, "B *z"]) -> Float[Tensor, " B"]:
        """The logarithm of the density at each event, in nats."""
        check_events("z", z.shape[1:], self.shape)
        ratio = (z.flatten(1)[:, None] - self.means) * (-self.log_deviations).exp()
        each = -ratio.square().sum(2) / 2 - self.log_deviations.sum(1) - self.means.shape[1] / 2 * math.log(2 * math.pi)
        return torch.logsumexp(each + self.weights.log(), 1)

    @torch.no_grad()
    def fit(self, codes: Float[Tensor, "n *z"], *, seed: int = 0, starts: int = 3, floor: float = 1e-6) -> float:
        """Sets shares, means and deviations to those of the greatest likelihood found by expectation maximisation.

        Args:
            codes: The events to fit to; on any device.
            seed: Of the starts.
            starts: How often to start, from k-means; the best is kept.
            floor: Is added to variances, in units of the mean variance of the codes' coordinates.

        Returns:
            The mean logarithm of the density of the codes, in nats.

        Raises:
            DataError: There are fewer codes than components, or they are all the same.
            InputError: They have another shape, or hold NaN or infinity.
        """
        import numpy as np
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Mixture

        check_events("codes", codes.shape[1:], self.shape)
        check_values("codes", codes)
        components = len(self.means)
        if len(codes) < max(2, components):
            raise DataError(f"found {len(codes)} codes for {components} components; fit needs at least {max(2, components)}")
        flat = codes.detach().flatten(1).double().cpu().numpy()
        # The library's own floor on variances has a unit; here codes may be small.
        centre, unit = flat.mean(0), float(np.sqrt(flat.var(0).mean()))
        if unit == 0:
            raise DataError(f"all {len(codes)} codes are the same; a mixture needs codes that differ")
        flat = (flat - centre) / unit
        mixture = Mixture(components, covariance_type="diag", reg_covar=floor, n_init=starts, random_state=seed, max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said below, in our words
            mixture.fit(flat)
        if not mixture.converged_:
            log.warning("the mixture's likelihood still rose after %d rounds; what it had reached is kept", mixture.n_iter_)
        self.means.copy_(torch.as_tensor(mixture.means_) * unit + torch.from_numpy(centre))
        self.log_deviations.copy_(torch.as_tensor(mixture.covariances_).log() / 2 + math.log(unit))
        self.weights.copy_(torch.as_tensor(mixture.weights_))
        return float(mixture.score(flat)) - flat.shape[1] * math.log(unit)
