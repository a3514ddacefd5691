"""The laws of `Divergence` about its value and its gradients."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from owae.interfaces import Divergence, Prior
from owae.testing.divergence_case import Case, Shifted
from owae.testing.laws import gradients, require, require_close, require_finite, require_true_gradients, seeded, strided


def _equal(case: Case) -> None:
    """Between equal samples it is near 0 (a tenth of its value for clouds 3 apart, at most) with finite gradients (N1, N3)."""
    limit = 0.1 * case.scale() if case.zero_at_equality else math.inf
    zeros, point, repeated = (
        torch.zeros(8, *case.shape, device=case.device),
        case.cloud(1),
        case.cloud(4).repeat(16, *[1] * len(case.shape)),
    )
    for what, x in {"zeros": zeros, "one point": point, "a cloud": case.cloud(64), "repeated rows": repeated}.items():
        x, y = x.clone().requires_grad_(), x.clone().requires_grad_()
        value = case.value(x, y)
        require_finite(f"the value of {what} against itself", value)
        require(abs(value.item()) <= limit, f"{what} against itself gives {value.item():.6g}; clouds 3 apart {limit / 0.1:.6g}")
        require_finite(f"the gradient of {what} against itself", *gradients(value, x, y))


def _repeats(case: Case) -> None:
    """Repeated rows, and rows in common, leave value and gradients finite (N3)."""
    x = case.cloud(12)
    y = torch.cat([x[:6], x[:3], case.cloud(3)])
    x = torch.cat([x[:9], x[:3]])
    for left, right in [(x, y), (y, x), (x, x[:5]), (torch.zeros_like(x), y)]:
        left, right = left.clone().requires_grad_(), right.clone().requires_grad_()
        value = case.value(left, right)
        require_finite("the value", value)
        require_finite("a gradient", *gradients(value, left, right))
        require_finite("the gradient of to_prior", *gradients(case.value_to_prior(left), left))


def _apart(case: Case) -> None:
    """Clouds 3 apart give clearly more than clouds of one distribution (N5), through D(x, y) and to_prior alike."""
    null, moved, prior, prior_moved = [], [], [], []
    for _ in range(10):
        x, y, shift = case.cloud(64), case.cloud(64), 3.0
        null.append(case.divergence(x, y).item())
        moved.append(case.divergence(x + shift, y).item())
        prior.append(case.divergence.to_prior(x, case.prior()).item())
        prior_moved.append(case.divergence.to_prior(x + shift, case.prior()).item())
    for how, same, other in [("D(x, y)", null, moved), ("to_prior", prior, prior_moved)]:
        margin = max(same) + 3 * torch.tensor(same).std().item()
        require(
            min(other) > margin,
            f"{how} of clouds 3 apart is {min(other):.6g} at least, of equal distributions {margin:.6g} at most",
        )
        require(not case.zero_at_equality or min(other) > 0, f"{how} of clouds 3 apart is {min(other):.6g}")


def _symmetries(case: Case) -> None:
    """The order of the rows, and how samples lie in memory, do not matter."""
    x, y = case.cloud(24), case.cloud(17, at=1)
    value, to_prior, atol = case.value(x, y), case.value_to_prior(x), 1e-5 * case.scale()
    shuffled = case.value(x[torch.randperm(24)], y[torch.randperm(17)])
    require_close("shuffled rows against the original", shuffled, value, rtol=1e-4, atol=atol)
    require_close("strided memory against contiguous", case.value(strided(x), strided(y)), value, rtol=1e-5, atol=atol)
    require_close("to_prior of strided memory", case.value_to_prior(strided(x)), to_prior, rtol=1e-5, atol=atol)
    swapped = x.transpose(0, 1).contiguous().transpose(0, 1)
    require_close("transposed memory against contiguous", case.value(swapped, y), value, rtol=1e-5, atol=atol)


def _translation(case: Case) -> None:
    """Far from the origin it is what it is near it: D(x + 1000, y + 1000) = D(x, y) to 1e-3 (N4)."""
    if not case.translation_invariant:
        return
    # Multiples of 1/64 and 1000 add without rounding, so that any difference is the divergence's own.
    x, y = ((64 * cloud).round() / 64 for cloud in (case.cloud(32), case.cloud(32, at=1)))
    atol = 1e-4 * case.scale()
    require_close("1000 away", case.value(x + 1000, y + 1000), case.value(x, y), rtol=1e-3, atol=atol)


def _gradients(case: Case) -> None:
    """Gradients reach both samples, and parameters of the prior, and are those of the value."""
    x, y = case.cloud(9, dtype=torch.float64), case.cloud(7, at=1, dtype=torch.float64)
    for what, gradient in zip("xy", gradients(case.value(x.requires_grad_(), y.requires_grad_()), x, y), strict=True):
        require(gradient is not None and bool(gradient.any()), f"no gradient reaches {what}")
    require_true_gradients(case.divergence, x, y, rtol=case.gradient_rtol)
    prior = case.prior(torch.float64)
    require_true_gradients(lambda x: case.divergence.to_prior(x, prior), x, rtol=case.gradient_rtol)
    shifted = Shifted(case.shape).to(case.device, torch.float64)
    (gradient,) = gradients(case.value_to_prior(x, shifted), shifted.shift)
    require(gradient is not None and bool(gradient.any()), "no gradient reaches a prior's parameter through to_prior")


def _closed_form(case: Case) -> None:
    """An overridden to_prior has the mean of the divergence from the prior's draws, whatever the prior."""
    if type(case.divergence).to_prior is Divergence.to_prior:
        return
    for prior in (case.prior(), Shifted(case.shape).to(case.device)):
        for x in (0.5 * case.cloud(512, at=1), 1.5 * case.cloud(512)):
            if _draws(case, x, prior):
                continue
            with torch.no_grad():
                closed = torch.stack([case.divergence.to_prior(x, prior) for _ in range(8)])
                drawn = torch.stack([Divergence.to_prior(case.divergence, x, prior) for _ in range(32)])
            error = 4 * (closed.var() / len(closed) + drawn.var() / len(drawn)).sqrt().item()
            require_close(
                f"the mean of to_prior against {type(prior).__name__} and that against draws",
                closed.mean(),
                drawn.mean(),
                rtol=case.closed_form_rtol,
                atol=error + 1e-6,
            )


def _draws(case: Case, x: Tensor, prior: Prior) -> bool:
    """Whether to_prior takes the prior's draws here, as it would without being overridden: then their means are the same thing."""
    values = []
    for to_prior in (case.divergence.to_prior, partial(Divergence.to_prior, case.divergence)):
        with seeded(), torch.no_grad():
            values.append(to_prior(x, prior))
    return torch.equal(*values)


LAWS = (_equal, _repeats, _apart, _symmetries, _translation, _gradients, _closed_form)
