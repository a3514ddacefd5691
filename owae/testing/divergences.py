"""The laws of `Divergence`: those of `divergence_inputs`, and, here, those about its value and its gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from owae.interfaces import Divergence, Prior, Shape
from owae.testing import divergence_inputs
from owae.testing.divergence_inputs import DivergenceCase
from owae.testing.laws import (
    gradients,
    require,
    require_close,
    require_finite,
    require_same_mean,
    require_true_gradients,
    run,
)


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
    case = DivergenceCase(
        divergence,
        zero_at_equality,
        translation_invariant,
        gradient_rtol,
        closed_form_rtol,
        shape=tuple(shape),
        device=torch.device(device),
    )
    run(divergence, Divergence, LAWS, case)


class Shifted(Prior):
    """N(t, I) with a learnt t: a prior that no plugin has a closed form for."""

    name = "shifted"

    def __init__(self, shape: Shape, /) -> None:
        super().__init__(shape)
        self.shift = nn.Parameter(torch.ones(self.shape))

    def sample(self, n: int) -> Tensor:
        return self.shift + torch.randn(n, *self.shape, device=self.anchor.device, dtype=self.anchor.dtype)


def _equal(case: DivergenceCase) -> None:
    """Between equal samples it is near 0 (a tenth of its value for clouds 3 apart, at most) with finite gradients."""
    limit = 0.1 * case.scale() if case.zero_at_equality else math.inf
    zeros, point = torch.zeros(8, *case.shape, device=case.device), case.events(1)
    repeated = case.events(4).repeat(16, *[1] * len(case.shape))
    for what, x in {"zeros": zeros, "one point": point, "a cloud": case.events(64), "repeated rows": repeated}.items():
        x, y = x.clone().requires_grad_(), x.clone().requires_grad_()
        value = case.value(x, y)
        require_finite(f"the value of {what} against itself", value)
        require(abs(value.item()) <= limit, f"{what} against itself gives {value.item():.6g}; clouds 3 apart {limit / 0.1:.6g}")
        require_finite(f"the gradient of {what} against itself", *gradients(value, x, y))


def _repeats(case: DivergenceCase) -> None:
    """Repeated rows, and rows in common, leave value and gradients finite."""
    x = case.events(12)
    y = torch.cat([x[:6], x[:3], case.events(3)])
    x = torch.cat([x[:9], x[:3]])
    for left, right in [(x, y), (y, x), (x, x[:5]), (torch.zeros_like(x), y)]:
        left, right = left.clone().requires_grad_(), right.clone().requires_grad_()
        value = case.value(left, right)
        require_finite("the value", value)
        require_finite("a gradient", *gradients(value, left, right))
        require_finite("the gradient of to_prior", *gradients(case.value_to_prior(left), left))


def _apart(case: DivergenceCase) -> None:
    """Clouds 3 apart give clearly more than clouds of one distribution, through D(x, y) and to_prior alike."""
    ways = {"D(x, y)": case.divergence, "to_prior": lambda x, y: case.divergence.to_prior(x, case.prior())}
    for how, way in ways.items():
        pairs = [(case.events(64), case.events(64)) for _ in range(10)]
        same = torch.stack([way(x, y) for x, y in pairs])
        moved = min(way(x + 3, y).item() for x, y in pairs)
        margin = (same.max() + 3 * same.std()).item()
        require(moved > margin, f"{how} of clouds 3 apart is {moved:.6g} at least, of equal distributions {margin:.6g} at most")
        require(not case.zero_at_equality or moved > 0, f"{how} of clouds 3 apart is {moved:.6g}")


def _order(case: DivergenceCase) -> None:
    """The order of the rows does not matter."""
    x, y = case.events(24), case.events(17) + 1
    shuffled = case.value(x[torch.randperm(24)], y[torch.randperm(17)])
    require_close("shuffled rows against the original", shuffled, case.value(x, y), rtol=1e-4, atol=1e-5 * case.scale())


def _translation(case: DivergenceCase) -> None:
    """Far from the origin it is what it is near it: D(x + 1000, y + 1000) = D(x, y) to 1e-3."""
    if not case.translation_invariant:
        return
    # Multiples of 1/64 and 1000 add without rounding, so that any difference is the divergence's own.
    x, y = ((64 * cloud).round() / 64 for cloud in (case.events(32), case.events(32) + 1))
    atol = 1e-4 * case.scale()
    require_close("1000 away", case.value(x + 1000, y + 1000), case.value(x, y), rtol=1e-3, atol=atol)


def _gradients(case: DivergenceCase) -> None:
    """Gradients reach both samples, and parameters of the prior, and are those of the value."""
    x, y = case.events(9, torch.float64), case.events(7, torch.float64) + 1
    for what, gradient in zip("xy", gradients(case.value(x.requires_grad_(), y.requires_grad_()), x, y), strict=True):
        require(gradient is not None and bool(gradient.any()), f"no gradient reaches {what}")
    require_true_gradients(case.divergence, x, y, rtol=case.gradient_rtol)
    prior = case.prior(torch.float64)
    require_true_gradients(lambda x: case.divergence.to_prior(x, prior), x, rtol=case.gradient_rtol)
    shifted = Shifted(case.shape).to(case.device, torch.float64)
    (gradient,) = gradients(case.value_to_prior(x, shifted), shifted.shift)
    require(gradient is not None and bool(gradient.any()), "no gradient reaches a prior's parameter through to_prior")


def _closed_form(case: DivergenceCase) -> None:
    """An overridden to_prior has the mean of the divergence from the prior's draws, whatever the prior."""
    if type(case.divergence).to_prior is Divergence.to_prior:
        return
    for prior in (case.prior(), Shifted(case.shape).to(case.device)):
        for x in (0.5 * (case.events(512) + 1), 1.5 * case.events(512)):
            if _takes_draws(case, x, prior):
                continue
            with torch.no_grad():
                closed = [case.divergence.to_prior(x, prior) for _ in range(8)]
                drawn = [Divergence.to_prior(case.divergence, x, prior) for _ in range(32)]
            what = f"the mean of to_prior against {type(prior).__name__} and that against draws"
            require_same_mean(what, closed, drawn, rtol=case.closed_form_rtol, errors=4)


def _takes_draws(case: DivergenceCase, x: Tensor, prior: Prior) -> bool:
    """Whether to_prior gives here, to the bit, what it would without being overridden: then the means need not be compared."""
    with seeded(), torch.no_grad():
        by_draws = Divergence.to_prior(case.divergence, x, prior)
    with torch.no_grad():
        return torch.equal(case.value_to_prior(x, prior), by_draws)


LAWS = (*divergence_inputs.LAWS, _equal, _repeats, _apart, _order, _translation, _gradients, _closed_form)
