"""What every divergence refuses, and the precision it computes in."""

from __future__ import annotations

import math

import pytest
import torch
from toys import Moments

from owae.tensor_checks import LARGEST, checked_samples, full_precision, unchecked

GOOD = torch.zeros(8, 4)


def with_row(value: float, row: int = 5) -> torch.Tensor:
    x = GOOD.clone()
    x[row] = value
    return x


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(0, 4), r"{} is empty, shape \(0, 4\)"),
        (torch.zeros(8, 0), r"{}.*"),
        (torch.zeros(8), r"{} has shape \(8,\); samples need a row each"),
        (torch.zeros(()), r"{} has shape \(\)"),
        (torch.zeros(8, 4, dtype=torch.int64), r"{} has dtype torch.int64.*such as {}.float\(\)"),
        (torch.zeros(8, 4, dtype=torch.complex64), r"{} has dtype torch.complex64"),
        (with_row(math.nan), r"{} holds NaN or infinity in 1 of 8 rows \(first: row 5\)"),
        (with_row(math.inf), r"{} holds NaN or infinity in 1 of 8 rows"),
        (with_row(-math.inf), r"{} holds NaN or infinity"),
        (with_row(1e20), r"{} holds entries as large as 1e\+20 in 1 of 8 rows"),
        (with_row(-1e16), r"{} holds entries as large as 1e\+16"),
    ],
)
@pytest.mark.parametrize("name", ["x", "y"])
def test_refusals_name_the_argument(bad, message, name):
    samples = {"x": GOOD, "y": GOOD} | {name: bad}
    with pytest.raises(ValueError, match=message.format(name, name)):
        Moments()(**samples)


def test_two_levels_do_not_compare():
    with pytest.raises(
        ValueError, match=r"y has events of shape \(3,\), x of shape \(4,\): both sides must live on the same level"
    ):
        checked_samples(x=GOOD, y=torch.zeros(8, 3))


def test_one_bad_number_among_large_ones_is_said():
    x = with_row(1e20)
    x[2] = math.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in 2 of 8 rows \(first: row 2\)"):
        checked_samples(x=x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_samples_come_back_float32_at_least(dtype):
    (x,) = checked_samples(x=torch.ones(2, 3, dtype=dtype))
    assert x.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    checked_samples(x=torch.full((2, 3), LARGEST))


def test_unchecked_skips_the_values_and_nothing_else():
    with unchecked():
        checked_samples(x=with_row(math.nan))
        with pytest.raises(ValueError, match="empty"):
            checked_samples(x=torch.zeros(0, 4))
    with pytest.raises(ValueError, match="NaN"):
        checked_samples(x=with_row(math.nan))


def test_unchecked_ends_with_its_block_also_when_that_raises_and_nests():
    with pytest.raises(KeyError), unchecked():
        raise KeyError
    with unchecked():
        with unchecked():
            pass
        checked_samples(x=with_row(math.nan))
    with pytest.raises(ValueError, match="NaN"):
        checked_samples(x=with_row(math.nan))


def test_full_precision_switches_autocast_off_and_back():
    a = torch.randn(4, 4)
    assert (a @ a).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with full_precision(a.device):
            assert (a @ a).dtype == torch.float32
        assert (a @ a).dtype == torch.bfloat16


def test_gradient_mode_survives_a_refusal():
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode:
            before = torch.is_grad_enabled()
            with pytest.raises(ValueError, match="NaN"):
                Moments()(with_row(math.nan), GOOD)
            assert torch.is_grad_enabled() is before
