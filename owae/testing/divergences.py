"""The laws of `Divergence`: about what it takes and leaves alone, then about its value, then about its gradients."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from owae.distributions import at_least_float32
from owae.interfaces import Divergence, Prior, Shape
from owae.model.defaults import StandardNormal
from owae.tensor_checks import unchecked
from owae.testing import require
from owae.testing.laws import Case, Report, run
from owae.testing.require import seeded


@dataclass(frozen=True)
class _Case(Case[Divergence]):
    zero_at_equality: bool
    translation_invariant: bool
    gradient_rtol: float
    closed_form_rtol: float

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.component(x, y)

    def to_prior(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The divergence from a standard normal prior, called as if that had given the second sample."""
        return self.component.to_prior(x, StandardNormal(x.shape[1:]).to(x.device, at_least_float32(x).dtype))

    def ways(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Both ways to a value, from two samples, each under one seed."""
        return {"D(x, y)": seeded()(self), "to_prior": seeded()(self.to_prior)}

    def scale(self) -> float:
        """How large it is for clouds 3 apart: the unit of "near 0"."""
        return abs(self.ways()["D(x, y)"](self.events(64), self.events(64) + 3).item())


def check_divergence(
    divergence: Divergence,
    *,
    shape: Shape = (4,),
    device: str = "cpu",
    zero_at_equality: bool = True,
    translation_invariant: bool = True,
    gradient_rtol: float = 1e-3,
    closed_form_rtol: float = 0.05,
    report: Report | None = None,
) -> None:
    """Checks a divergence, on events of `shape`, against the laws of its interface; see `owae.testing`.

    Args:
        zero_at_equality: Whether equal samples give a value near 0. False for a cross-entropy or an undebiased transport cost.
        translation_invariant: Whether `D(x + t, y + t) = D(x, y)`.
        gradient_rtol: How far a gradient may be from the slope of the value in float64, relative to the gradient's norm.
            An estimate whose inner optimisation stops early needs more than the default.
        closed_form_rtol: How far the mean of an overridden `to_prior` may be from that against draws, relatively and beyond the
            statistical error. It has to allow for the bias of both estimates at 512 samples.

    Raises:
        AssertionError: It breaks a law.
    """
    exceptions = (zero_at_equality, translation_invariant, gradient_rtol, closed_form_rtol)
    run(divergence, Divergence, LAWS, _Case(divergence, tuple(shape), device, *exceptions), report)


class Shifted(Prior):
    """N(t, I) with a learnt t: a prior that no plugin has a closed form for."""

    name = "shifted"

    def __init__(self, shape: Shape, /) -> None:
        super().__init__(shape)
        self.shift = nn.Parameter(torch.ones(self.shape))

    def sample(self, n: int) -> Tensor:
        return self.shift + torch.randn(n, *self.shape, device=self.anchor.device, dtype=self.anchor.dtype)


def _scalar(case: _Case) -> None:
    """It gives a finite scalar in the samples' precision, for any numbers of samples on either side and any event shape."""
    sizes = [(8, 8), (8, 5), (5, 8), (1, 1), (1, 6), (6, 1), (2, 2), (33, 33)]
    tried = [(size, case.shape) for size in sizes]
    tried += [(size, event) for event in ((1,), (2, 3), (1, 2, 2)) for size in ((8, 5), (1, 1))]
    for ((n, m), event), dtype in itertools.product(tried, (torch.float32, torch.float64)):
        x, y = (case.events(rows, dtype, shape=event) for rows in (n, m))
        for how, way in case.ways().items():
            where = f"{how} for {n} and {m} {str(dtype).removeprefix('torch.')} events of shape {event}"
            require.form(where, way(x, y), (), dtype)


def _refusals(case: _Case) -> None:
    """Samples that are empty, not finite, too large or not floating raise a ValueError that names the argument."""
    good = case.events(8)
    bad = {"no rows": good[:0], "integers": torch.zeros_like(good, dtype=torch.int64), "no event axis": good.flatten(1)[:, 0]}
    for number in (math.nan, math.inf, 1e20):
        bad[f"a row of {number}"] = good.clone()
        bad[f"a row of {number}"][3] = number
    for what, sample in bad.items():
        calls: list[tuple[str, Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]]
        calls = [("x", case, sample, good), ("y", case, good, sample)]
        if sample.is_floating_point():  # else a run-time type checker refuses it first, by to_prior's annotation
            calls.append(("x", case.to_prior, sample, good))
        for argument, call, *samples in calls:
            for mode in (False, True):
                with torch.set_grad_enabled(mode):
                    _require_refusal(f"{what} as {argument}", argument, partial(call, *samples))
                    switched = f"after refusing {what} as {argument}, gradients are switched {'off' if mode else 'on'}"
                    require.that(torch.is_grad_enabled() == mode, switched)


def _require_refusal(what: str, argument: str, call: Callable[[], Tensor]) -> None:
    try:
        value = call()
    except ValueError as error:
        require.that(argument in str(error).split(), f"the message about {what} does not name the argument: {error}")
    except Exception as error:
        raise AssertionError(f"{what} raises {type(error).__name__} instead of a ValueError: {error}") from error
    else:
        raise AssertionError(f"{what} is taken, and gives {value}; start an overridden to_prior with `self.checked(x)`")


def _neutral(case: _Case) -> None:
    """It leaves the gradient mode alone, records nothing where gradients are off, and changes neither sample.
    Its randomness is torch's: one seed, one value, to the bit, and it sets no seed. It does not matter how samples lie in memory.
    """
    x, y = case.events(24), case.events(17) + 1
    require.unseeded("D(x, y)", lambda: case(x, y))
    require.unseeded("to_prior", lambda: case.to_prior(x))
    for how, way in case.ways().items():
        require.neutral(how, way, x, y, rtol=1e-5, atol=1e-5 * case.scale())


def _unchecked(case: _Case) -> None:
    """`unchecked` changes no value."""
    x, y = case.events(16), case.events(16) + 1
    for how, way in case.ways().items():
        with unchecked():
            value = way(x, y)
        require.equal(f"{how} checked and unchecked", way(x, y), value)


def _precision(case: _Case) -> None:
    """It computes in float32 at least, half samples and autocast notwithstanding, and there within 1% of float64."""
    for dtype in (torch.float16, torch.bfloat16):
        x, y = case.events(32).to(dtype), (case.events(32) + 3).to(dtype)
        for how, way in case.ways().items():
            right = way(x.float(), y.float())
            values = {str(dtype): way(x, y)}
            if how == "D(x, y)":
                with torch.autocast(x.device.type, dtype=torch.bfloat16):
                    values["autocast"] = way(x.float(), y.float())
            for what, value in values.items():
                require.form(f"{how} under {what}", value, (), torch.float32)
                require.close(f"{how} under {what} against the same numbers in float32", value, right, rtol=1e-4)
    x, y = case.events(32), case.events(32) + 3
    # Random numbers of another precision are other random numbers, so an estimate that draws some is compared in the mean.
    with torch.no_grad():
        narrow, wide = ([seeded(seed)(case)(x.to(t), y.to(t)) for seed in range(32)] for t in (torch.float32, torch.float64))
    require.same_mean("float32 against float64", narrow, wide, rtol=0.01, errors=4)


def _large(case: _Case) -> None:
    """Wide events and large numbers give finite values and gradients: 12,288 coordinates at scale 10."""
    x, y = (10 * case.events(8, shape=(3, 64, 64)) for _ in range(2))
    _require_finite_with_gradients(case, "12,288 coordinates", x, y)


def _require_finite_with_gradients(case: _Case, what: str, x: Tensor, y: Tensor, limit: float = math.inf) -> None:
    for how, way in case.ways().items():
        left, right = x.clone().requires_grad_(), y.clone().requires_grad_()
        value = way(left, right)
        require.finite(f"{how} of {what}", value)
        if how == "D(x, y)":
            found = f"{what}: {value.item():.6g}; clouds 3 apart give {limit / 0.1:.6g}"
            require.that(abs(value.item()) <= limit, found)
        reached = require.gradients(value, left, right)
        require.finite(f"the gradient of {how} of {what}", *(reached if how == "D(x, y)" else reached[:1]))


def _description(case: _Case) -> None:
    """`describe` gives text and numbers, for logs and tables."""
    described = case.component.describe(case.shape)
    require.that(isinstance(described, dict), f"it gives {described!r}; it should be a dict")
    for key, value in described.items():
        numbers = isinstance(value, list) and all(isinstance(number, int | float) for number in value)
        require.that(isinstance(key, str) and (isinstance(value, str | int | float) or numbers), f"{key!r} is {value!r}")


def _state(case: _Case) -> None:
    """Its state is tensors alone, saved without pickle, and a copy that loads it gives the same values."""
    x, y = case.events(8), case.events(8)
    require.round_trip(case.component, copy.deepcopy(case.component), lambda divergence: divergence(x, y))


def _equal(case: _Case) -> None:
    """Between equal samples it is near 0 (a tenth of its value for clouds 3 apart, at most) with finite gradients."""
    limit = 0.1 * case.scale() if case.zero_at_equality else math.inf
    zeros, point = torch.zeros(8, *case.shape, device=case.device), case.events(1)
    repeated = case.events(4).repeat(16, *[1] * len(case.shape))
    for what, x in {"zeros": zeros, "one point": point, "a cloud": case.events(64), "repeated rows": repeated}.items():
        _require_finite_with_gradients(case, f"{what} against itself", x, x, limit)


def _repeats(case: _Case) -> None:
    """Repeated rows, and rows in common, leave value and gradients finite."""
    x = case.events(12)
    y = torch.cat([x[:6], x[:3], case.events(3)])
    x = torch.cat([x[:9], x[:3]])
    for left, right in [(x, y), (y, x), (x, x[:5]), (torch.zeros_like(x), y)]:
        _require_finite_with_gradients(case, "repeated rows", left, right)


def _apart(case: _Case) -> None:
    """Clouds 3 apart give clearly more than clouds of one distribution, through D(x, y) and to_prior alike."""
    for how, way in {"D(x, y)": case, "to_prior": case.to_prior}.items():
        pairs = [(case.events(64), case.events(64)) for _ in range(10)]
        same = torch.stack([way(x, y) for x, y in pairs])
        moved = min(way(x + 3, y).item() for x, y in pairs)
        margin = (same.max() + 3 * same.std()).item()
        require.that(
            moved > margin, f"{how} of clouds 3 apart is {moved:.6g} at least, of equal distributions {margin:.6g} at most"
        )
        require.that(not case.zero_at_equality or moved > 0, f"{how} of clouds 3 apart is {moved:.6g}")


def _order(case: _Case) -> None:
    """The order of the rows does not matter."""
    x, y, value = case.events(24), case.events(17) + 1, case.ways()["D(x, y)"]
    shuffled = value(x[torch.randperm(24)], y[torch.randperm(17)])
    require.close("shuffled rows against the original", shuffled, value(x, y), rtol=1e-4, atol=1e-5 * case.scale())


def _translation(case: _Case) -> None:
    """Far from the origin it is what it is near it: D(x + 1000, y + 1000) = D(x, y) to 1e-3."""
    if not case.translation_invariant:
        return
    # Multiples of 1/64 and 1000 add without rounding, so that any difference is the divergence's own.
    x, y = ((64 * cloud).round() / 64 for cloud in (case.events(32), case.events(32) + 1))
    value = case.ways()["D(x, y)"]
    require.close("1000 away", value(x + 1000, y + 1000), value(x, y), rtol=1e-3, atol=1e-4 * case.scale())


def _gradients(case: _Case) -> None:
    """Gradients reach both samples, and parameters of the prior, and are those of the value."""
    x, y = (case.events(rows, torch.float64).requires_grad_() for rows in (9, 7))
    for what, gradient in zip("xy", require.gradients(case(x, y + 1), x, y), strict=True):
        require.that(gradient is not None and bool(gradient.any()), f"no gradient reaches {what}")
    for way in case.ways().values():
        require.true_gradients(way, x, y + 1, rtol=case.gradient_rtol)
    shifted = Shifted(case.shape).to(case.device, torch.float64)
    (gradient,) = require.gradients(case.component.to_prior(x, shifted), shifted.shift)
    require.that(gradient is not None and bool(gradient.any()), "no gradient reaches a prior's parameter through to_prior")


def _closed_form(case: _Case) -> None:
    """An overridden to_prior has the mean of the divergence from the prior's draws, whatever the prior."""
    closed, drawn = type(case.component).to_prior, Divergence.to_prior
    if closed is drawn:
        return
    for prior in (StandardNormal(case.shape), Shifted(case.shape)):
        prior = prior.to(case.device)
        for x in (0.5 * (case.events(512) + 1), 1.5 * case.events(512)):
            with torch.no_grad():
                if torch.equal(*(seeded()(way)(case.component, x, prior) for way in (closed, drawn))):
                    continue  # to the bit what it is without being overridden
                means = [[way(case.component, x, prior) for _ in range(count)] for way, count in ((closed, 8), (drawn, 32))]
            what = f"the mean of to_prior against {type(prior).__name__} and that against draws"
            require.same_mean(what, *means, rtol=case.closed_form_rtol, errors=4)


LAWS = (
    *(_scalar, _refusals, _neutral, _unchecked, _precision, _large, _description, _state),
    *(_equal, _repeats, _apart, _order, _translation, _gradients, _closed_form),
)
