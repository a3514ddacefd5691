"""What all of `owae.testing` has in common, and that the defaults keep their own contract."""

from __future__ import annotations

import pytest
import torch
from toys import Affine, Bounded, Moments, Spread

from owae.model.defaults import Euclidean, SquaredEuclidean, StandardNormal
from owae.testing import check_cost, check_divergence, check_layer, check_prior, check_regulariser, check_source


@pytest.mark.parametrize("shape", [(3,), (1, 8, 8), (1,)])
@pytest.mark.parametrize("cost", [SquaredEuclidean(), Euclidean(), Bounded()], ids=lambda cost: cost.name)
def test_costs_keep_the_contract(cost, shape):
    check_cost(cost, shape=shape)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 5)])
def test_priors_keep_the_contract(shape):
    check_prior(StandardNormal, shape)


def test_checks_leave_the_random_numbers_and_the_gradient_mode():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check_cost(Bounded())
    check_layer(Affine, (4,), latent=2)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        check_divergence(Moments(), translation_invariant=False)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("check", "subject"),
    [
        (check_divergence, Bounded()),
        (check_cost, Moments()),
        (check_regulariser, Bounded()),
        (check_layer, lambda shape: StandardNormal(shape)),
        (check_prior, lambda shape: Spread()),
        (check_source, lambda split: Spread()),
    ],
)
def test_another_interface_is_refused(check, subject):
    # Either by the check, or before it by the run-time type checker of the tests.
    with pytest.raises(Exception, match=r"is no |no instance of|Expected type"):
        check(*((subject, (4,)) if check is check_layer else (subject,)))
