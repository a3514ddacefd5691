"""The laws of `Divergence`."""

from __future__ import annotations

import torch

from owae.interfaces import Divergence, Shape
from owae.testing import divergence_inputs, divergence_values
from owae.testing.divergence_case import Case
from owae.testing.laws import run


def check_divergence(
    divergence: Divergence,
    *,
    shape: Shape = (4,),
    device: str = "cpu",
    zero_at_equality: bool = True,
    translation_invariant: bool = True,
    gradient_rtol: float = 1e-3,
    closed_form_rtol: float = 0.05,
) -> None:
    """Check a divergence against the laws of its interface.

    Args:
        divergence: The instance.
        shape: Shape of the events to try it on.
        device: Where to try it.
        zero_at_equality: Whether equal samples give a value near 0. False for a cross-entropy or an undebiased transport cost.
        translation_invariant: Whether `D(x + t, y + t) = D(x, y)`.
        gradient_rtol: How far a gradient may be from the slope of the value in float64, relative to the gradient's norm.
            An estimate whose inner optimisation stops early needs more than the default.
        closed_form_rtol: How far the mean of an overridden `to_prior` may be from that against draws, relatively and beyond the
            statistical error. It has to allow for the bias of both estimates at 512 samples.

    Raises:
        AssertionError: It breaks a law.
    """
    if not isinstance(divergence, Divergence):
        raise AssertionError(f"{divergence!r} is no instance of a Divergence")
    case = Case(
        divergence, tuple(shape), torch.device(device), zero_at_equality, translation_invariant, gradient_rtol, closed_form_rtol
    )
    run(divergence, LAWS, case)


LAWS = (*divergence_inputs.LAWS, *divergence_values.LAWS)
