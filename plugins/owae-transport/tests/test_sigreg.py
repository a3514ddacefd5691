"""The sliced Epps–Pulley distance against its closed forms on a line."""

import math

import pytest
import torch
from scipy import integrate, stats

from owae.model.defaults import StandardNormal
from owae_transport import SigReg


def gaussian_bits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (30, 7)])
def test_sigreg_on_a_line_is_the_mmd_of_a_gaussian_kernel(n, m):
    """`∫ |φ_x − φ_y|² N(t; 0, 1) dt` is the V-statistic with `exp(−s²/2)`."""
    x, y = gaussian_bits(n, 1), 1 + 2 * gaussian_bits(m, 1, seed=1)
    kernel = lambda a, b: (-(a - b.T).square() / 2).exp().mean()  # noqa: E731 # one line of the formula
    oracle = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    assert SigReg(knots=40, reach=6.0)(x, y).item() == pytest.approx(oracle.item(), rel=1e-6)
    assert SigReg()(x, y).item() == pytest.approx(oracle.item(), rel=1e-2)


def test_sigreg_tells_a_normal_from_what_shares_its_moments():
    """Signs have mean 0 and variance 1 as N(0, 1) has; the distance from it is `∫ (cos t − exp(−t²/2))² N(t; 0, 1) dt`."""
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(500)[:, None]
    oracle = integrate.quad(lambda t: (math.cos(t) - math.exp(-t * t / 2)) ** 2 * stats.norm.pdf(t), -10, 10)[0]
    value = SigReg(prior="population", knots=40, reach=6.0).to_prior(signs, StandardNormal((1,)))
    assert value.item() == pytest.approx(oracle, rel=1e-6)
