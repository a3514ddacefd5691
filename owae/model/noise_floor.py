"""Simulates the noise floor of a divergence: its value between equal distributions.

No estimate from n samples is 0 when the distributions agree. An unbiased one scatters around 0; the others, transport costs above
all, have a mean of their own, which grows with the dimension and can be larger than anything training will ever change. So a
divergence's value means something only beside this one: the same estimate, of n draws of the prior from the prior itself.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from owae.interfaces import Divergence, Prior
from owae.model.inference import evaluation_mode, own_randomness
from owae.numerics import full_precision

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

    By simulation, on the prior's device and in its dtype, with a seed of its own: torch's random state stays as it was, and so do
    the modules (they are put in evaluation mode meanwhile, which matters to an ancestral prior). Remembered for as long as the
    program runs, except where the prior or the divergence has parameters, which training may have changed since.

    Args:
        n: The number of samples, at least 1: the batch size in training.
        repeats: Simulated values, at least 2; each costs about as much as one step's divergence.

    Raises:
        ValueError: `n` or `repeats` is too small.
    """
    if n < 1 or repeats < 2:
        raise ValueError(f"n is {n} and repeats is {repeats}; a noise floor needs at least 1 sample and 2 repeats")
    if any(True for module in (divergence, prior) for _ in module.parameters()):
        return _simulate(divergence, prior, n, repeats)
    description = repr(sorted(divergence.describe(prior.shape).items()))
    where = prior.anchor.device, prior.anchor.dtype
    return _remembered(weakref.ref(divergence), weakref.ref(prior), description, where, n, repeats)


@lru_cache(maxsize=128)
def _remembered(
    divergence: weakref.ref[Divergence], prior: weakref.ref[Prior], description: str, where: Any, n: int, repeats: int
) -> NoiseFloor:
    """Caches the floor, keyed on the two instances, on what the divergence says of itself, and on where the draws are made.

    References to dead instances equal nothing but themselves, so a new instance at an old address is never taken for the old one.
    """
    one, other = divergence(), prior()
    assert one is not None
    assert other is not None
    return _simulate(one, other, n, repeats)


def _simulate(divergence: Divergence, prior: Prior, n: int, repeats: int) -> NoiseFloor:
    device = prior.anchor.device
    with torch.no_grad(), own_randomness(_SEED, device), evaluation_mode(divergence, prior), full_precision(device):
        values = torch.stack([divergence.to_prior(prior.sample(n), prior).float() for _ in range(repeats)])
        mean, deviation = torch.stack([values.mean(), values.std()]).tolist()
    return NoiseFloor(mean, deviation, n, repeats)
