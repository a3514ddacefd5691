"""What the laws of `Divergence` are tried on, and those laws about what it takes and leaves alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from owae.interfaces import Divergence, Prior
from owae.model.defaults import StandardNormal
from owae.numerics import unchecked
from owae.testing.laws import (
    Case,
    gradients,
    require,
    require_close,
    require_equal,
    require_finite,
    require_form,
    require_neutral,
    require_round_trip,
    require_same_mean,
    seeded,
)


@dataclass(frozen=True)
class DivergenceCase(Case):
    divergence: Divergence
    zero_at_equality: bool
    translation_invariant: bool
    gradient_rtol: float
    closed_form_rtol: float

    def prior(self, dtype: torch.dtype = torch.float32) -> StandardNormal:
        return StandardNormal(self.shape).to(self.device, dtype)

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        with seeded():
            return self.divergence(x, y)

    def value_to_prior(self, x: Tensor, prior: Prior | None = None) -> Tensor:
        with seeded():
            return self.divergence.to_prior(x, self.prior(x.dtype) if prior is None else prior)

    def scale(self) -> float:
        """How large it is for clouds 3 apart: the unit of "near 0"."""
        return abs(self.value(self.events(64), self.events(64) + 3).item())


def _scalar(case: DivergenceCase) -> None:
    """It gives a finite scalar in the samples' precision, for any numbers of samples on either side and any event shape."""
    for n, m in [(8, 8), (8, 5), (5, 8), (1, 1), (1, 6), (6, 1), (2, 2), (33, 33)]:
        for event in [case.shape, (1,), (2, 3), (1, 2, 2)]:
            for dtype in (torch.float32, torch.float64):
                x, y = (case.events(rows, dtype, shape=event) for rows in (n, m))
                prior = StandardNormal(event).to(case.device, dtype)
                for how, value in {"D(x, y)": case.divergence(x, y), "to_prior": case.divergence.to_prior(x, prior)}.items():
                    where = f"{how} for {n} and {m} {str(dtype).removeprefix('torch.')} events of shape {event}"
                    require_form(where, value, (), dtype)
                    require_finite(where, value)


def _refusals(case: DivergenceCase) -> None:
    """Samples that are empty, not finite, too large or not floating raise a ValueError that names the argument."""
    good = case.events(8)
    for what, bad in _unusable(good).items():
        calls = {"x": lambda bad=bad: case.divergence(bad, good), "y": lambda bad=bad: case.divergence(good, bad)}
        if bad.is_floating_point():  # to_prior is annotated as taking floats, which a run-time type checker enforces before it can
            calls["x of to_prior"] = lambda bad=bad: case.divergence.to_prior(bad, case.prior())
        for name, call in calls.items():
            for mode in (False, True):
                with torch.set_grad_enabled(mode):
                    _require_refusal(f"{what} as {name}", name[0], call)
                    switched = f"after refusing {what} as {name}, gradients are switched {'off' if mode else 'on'}"
                    require(torch.is_grad_enabled() == mode, switched)


def _unusable(good: Tensor) -> dict[str, Tensor]:
    bad = {"no rows": good[:0], "integers": torch.zeros_like(good, dtype=torch.int64), "no event axis": good.flatten(1)[:, 0]}
    for what, number in {"NaN": math.nan, "infinity": math.inf, "1e20": 1e20}.items():
        bad[f"a row of {what}"] = good.clone()
        bad[f"a row of {what}"][3] = number
    return bad


def _require_refusal(what: str, argument: str, call: Callable[[], Tensor]) -> None:
    try:
        value = call()
    except ValueError as error:
        require(argument in str(error).split(), f"the message about {what} does not name the argument: {error}")
    except Exception as error:
        raise AssertionError(f"{what} raises {type(error).__name__} instead of a ValueError: {error}") from error
    else:
        raise AssertionError(f"{what} is taken, and gives {value}; start an overridden to_prior with `self.checked(x)`")


def _neutral(case: DivergenceCase) -> None:
    """It leaves the gradient mode alone, records nothing where gradients are off, and changes neither sample.
    Its randomness is torch's: one seed, one value, to the bit. It does not matter how samples lie in memory.
    """
    x, y, atol = case.events(24), case.events(17) + 1, 1e-5 * case.scale()
    require_neutral("D(x, y)", case.divergence, x, y, rtol=1e-5, atol=atol)
    require_neutral("to_prior", lambda x: case.divergence.to_prior(x, case.prior()), x, rtol=1e-5, atol=atol)
    transposed = x.transpose(0, 1).contiguous().transpose(0, 1)
    require_close("transposed memory against contiguous", case.value(transposed, y), case.value(x, y), rtol=1e-5, atol=atol)


def _unchecked(case: DivergenceCase) -> None:
    """`unchecked` changes no value."""
    x, y = case.events(16), case.events(16) + 1
    for what, call in {"D(x, y)": lambda: case.value(x, y), "to_prior": lambda: case.value_to_prior(x)}.items():
        with unchecked():
            value = call()
        require_equal(f"{what} checked and unchecked", call(), value)


def _precision(case: DivergenceCase) -> None:
    """It computes in float32 at least, half samples and autocast notwithstanding, and there within 1% of float64."""
    for dtype in (torch.float16, torch.bfloat16):
        x, y = case.events(32).to(dtype), (case.events(32) + 3).to(dtype)
        value, to_prior = case.value(x.float(), y.float()), case.value_to_prior(x.float())
        half, half_to_prior = case.value(x, y), case.value_to_prior(x, case.prior())
        with torch.autocast(case.device.type, dtype=torch.bfloat16):
            autocast = case.value(x.float(), y.float())
        for how, found, right in [
            (dtype, half, value),
            (f"{dtype} in to_prior", half_to_prior, to_prior),
            ("autocast", autocast, value),
        ]:
            require(found.dtype == torch.float32, f"{how}: the value has dtype {found.dtype}")
            require_close(f"{how} against the same numbers in float32", found, right, rtol=1e-4)
    x, y = case.events(32), case.events(32) + 3
    # Random numbers of another precision are other random numbers, so an estimate that draws some is compared in the mean.
    narrow, wide = _values(case, x, y), _values(case, x.double(), y.double())
    require_same_mean("float32 against float64", narrow, wide, rtol=0.01, errors=4)


def _values(case: DivergenceCase, x: Tensor, y: Tensor) -> list[Tensor]:
    """The values under 32 seeds."""
    values = []
    for seed in range(32):
        with seeded(seed), torch.no_grad():
            values.append(case.divergence(x, y))
    return values


def _large(case: DivergenceCase) -> None:
    """Wide events and large numbers give finite values and gradients: 12,288 coordinates at scale 10."""
    x, y = (10 * case.events(8, shape=(3, 64, 64)) for _ in range(2))
    prior = StandardNormal((3, 64, 64)).to(case.device)
    x.requires_grad_()
    for value in (case.value(x, y), case.value_to_prior(x, prior)):
        require_finite("the value", value)
        require_finite("the gradient", *gradients(value, x))


def _description(case: DivergenceCase) -> None:
    """`describe` gives text and numbers, for logs and tables."""
    described = case.divergence.describe(case.shape)
    require(isinstance(described, dict), f"it gives {described!r}; it should be a dict")
    for key, value in described.items():
        numbers = isinstance(value, list) and all(isinstance(number, int | float) for number in value)
        require(isinstance(key, str) and (isinstance(value, str | int | float) or numbers), f"{key!r} is {value!r}")


def _state(case: DivergenceCase) -> None:
    """Its state is tensors alone, saved without pickle, and a copy that loads it gives the same values."""
    x, y = case.events(8), case.events(8)
    require_round_trip(case.divergence, copy.deepcopy(case.divergence), lambda divergence: divergence(x, y))


LAWS = (_scalar, _refusals, _neutral, _unchecked, _precision, _large, _description, _state)
