"""The log-variance penalty: its value, its gradient's direction, its contract."""

from __future__ import annotations

import math

import pytest
import torch

from owae.distributions import Dirac, Gaussian
from owae.testing import check_regulariser
from owae_logvar.log_variance import LogVariance


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3), (1,)])
def test_contract(shape):
    check_regulariser(LogVariance(), shape=shape)


def test_the_absolute_value_stands_inside_the_sum():
    variance = torch.tensor([[math.e, 1 / math.e], [1.0, math.e**3]])
    torch.testing.assert_close(LogVariance()(Gaussian(torch.zeros(2, 2), variance)), torch.tensor([2.0, 3.0]))


def test_it_pulls_the_variance_to_1_from_both_sides():
    variance = torch.tensor([[4.0, 0.25, 1.0]], requires_grad=True)
    LogVariance()(Gaussian(torch.zeros(1, 3), variance)).sum().backward()
    torch.testing.assert_close(variance.grad, torch.tensor([[0.25, -4.0, 0.0]]))


def test_a_deterministic_encoder_is_refused():
    with pytest.raises(ValueError, match="log-variance needs an encoder with noise"):
        LogVariance()(Dirac(torch.zeros(2, 3)))
