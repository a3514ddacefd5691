"""One line for the contract, and what is known of this divergence in particular."""

import pytest
import torch
from owae_sliced_example import SlicedWasserstein

from owae.testing import check_divergence


def test_contract():
    check_divergence(SlicedWasserstein())


def test_of_a_translation():
    """Moving a cloud by t moves each projection by θ·t, whose square is ‖t‖² / d in the mean."""
    torch.manual_seed(0)
    x, t = torch.randn(500, 3), torch.tensor([1.0, -2.0, 2.0])
    assert SlicedWasserstein(projections=20_000)(x, x + t).item() == pytest.approx(9 / 3, rel=0.02)


def test_on_a_line_the_directions_do_not_matter():
    x, y = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[6.0], [2.0], [0.0]])
    assert SlicedWasserstein(projections=1)(x, y).item() == pytest.approx((0 + 1 + 1) / 3)
