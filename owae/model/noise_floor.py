"""Simulates the noise floor of a divergence: its value between equal distributions.

No estimate from n samples is 0 when the distributions agree. An unbiased one scatters around 0; the others, transport costs above
all, have a positive mean, which grows with the dimension and can exceed every change that training brings. So a divergence's value
is read beside this one: the same estimate, of n draws of the prior from the prior itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from owae.interfaces import Divergence, Prior
from owae.tensor_checks import full_precision
from owae.torch_state import evaluation_mode, own_randomness

_SEED = 0x0AE  # one seed, so that a resumed or repeated run logs the same floor


@dataclass(frozen=True)
class NoiseFloor:
    """The value of a divergence under equal distributions.

    Attributes:
        mean: Its mean.
        deviation: Its standard deviation from one batch to the next.
        n: The number of samples on each side.
        repeats: The number of simulated values the two come from; the mean is known to `deviation / √repeats`.
    """

    mean: float
    deviation: float
    n: int
    repeats: int

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.deviation:.2g}"


def noise_floor(divergence: Divergence, prior: Prior, n: int, *, repeats: int = 32) -> NoiseFloor:
    """Simulates the mean and standard deviation of `divergence.to_prior(x, prior)` for n draws `x` of the same prior.

    Draws are made on the prior's device and in its dtype, with a seed of their own and modules in evaluation mode; torch's random state
    and the modules' modes are then put back.

    Args:
        n: The number of samples, at least 1: the batch size in training.
        repeats: Simulated values, at least 2; each costs about as much as one step's divergence.

    Raises:
        ValueError: `n` or `repeats` is too small.
    """
    if n < 1 or repeats < 2:
        raise ValueError(f"n is {n} and repeats is {repeats}; a noise floor needs at least 1 sample and 2 repeats")
    device = prior.anchor.device
    with torch.no_grad(), own_randomness(_SEED, device), evaluation_mode(divergence, prior), full_precision(device):
        values = torch.stack([divergence.to_prior(prior.sample(n), prior).float() for _ in range(repeats)])
        mean, deviation = torch.stack([values.mean(), values.std()]).tolist()
    return NoiseFloor(mean, deviation, n, repeats)
