"""Rules give the paper's weights, and a fault wherever a stack could not use them."""

from __future__ import annotations

import contextlib
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owae.config.weights import Constant, Exponential, Listed, Power, Weights
from owae.errors import ConfigError


def test_rules_give_the_papers_weights() -> None:
    mnist = Weights(reconstruction=Power(base=0.1, per_dimension=True), match=1e-3)
    assert mnist.products([32, 16, 8, 4, 2]) == pytest.approx((0.1 / 32, 0.01 / 16, 0.001 / 8, 1e-4 / 4, 1e-3))
    celeba = Weights(reconstruction=Power(base=0.1, step=1 / 3), match=0.5).products([1] * 10)
    assert celeba[:4] == pytest.approx((0.1, 0.1 ** (4 / 3), 0.1 ** (5 / 3), 0.01))
    svhn = Weights(reconstruction=Power(base=0.5), match=10.0, regulariser=Exponential(scale=2.5, last=2.0))
    assert svhn.penalty_weights([1] * 3) == pytest.approx((2.5, 2.5 / math.e, 2 * 2.5 / math.e**2))
    assert Weights(match=0.5).products([4]) == (0.5,)
    assert Weights(match=0.5, regulariser=Constant(value=2.0)).penalty_weights([4, 2]) == (2.0, 2.0)
    assert Weights(reconstruction=Listed([0.5, 0.25]), match=0.1).products([3, 2, 1]) == (0.5, 0.25, 0.1)


@given(st.floats(0, 10), st.floats(-3, 3), st.floats(-3, 3), st.integers(1, 12))
def test_faultless_weights_make_multipliers(base: float, first: float, step: float, stacked: int) -> None:
    weights = Weights(reconstruction=Power(base=base, first=first, step=step), match=1e-3)
    with contextlib.suppress(ConfigError):
        weights.check(stacked)
        products = weights.products([1] * stacked)
        assert len(products) == stacked
        assert all(math.isfinite(w) and w >= 0 for w in products)
        assert all(later == 0 for below, later in itertools.pairwise(products) if below == 0)
