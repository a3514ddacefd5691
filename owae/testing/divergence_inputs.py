"""The laws of `Divergence` about what it takes and leaves alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from owae.model.defaults import StandardNormal
from owae.numerics import unchecked
from owae.testing.divergence_case import Case
from owae.testing.laws import (
    copied,
    gradients,
    require,
    require_close,
    require_equal,
    require_finite,
    require_round_trip,
    require_schema,
    seeded,
)


def _schema(case: Case) -> None:
    """Its class can be registered: a name, keyword-only options that resolve, defaults that fit them."""
    require_schema(type(case.divergence))


def _scalar(case: Case) -> None:
    """It gives a finite scalar in the samples' precision, for any numbers of samples on either side and any event shape."""
    for n, m in [(8, 8), (8, 5), (5, 8), (1, 1), (1, 6), (6, 1), (2, 2), (33, 33)]:
        for event in [case.shape, (1,), (2, 3), (1, 2, 2)]:
            for dtype in (torch.float32, torch.float64):
                x, y = (torch.randn(rows, *event, device=case.device, dtype=dtype) for rows in (n, m))
                prior = StandardNormal(event).to(case.device, dtype)
                for how, value in {"D(x, y)": case.divergence(x, y), "to_prior": case.divergence.to_prior(x, prior)}.items():
                    where = f"{how} for {n} and {m} {str(dtype).removeprefix('torch.')} events of shape {event}"
                    require(value.shape == (), f"{where} has shape {tuple(value.shape)}; it should be a scalar, ()")
                    require(value.dtype == dtype, f"{where} has dtype {value.dtype}")
                    require_finite(where, value)


def _refusals(case: Case) -> None:
    """Samples that are empty, not finite, too large or not floating raise a ValueError that names the argument (N1)."""
    good = case.cloud(8)
    for what, bad in _unusable(good).items():
        for name, call in _calls(case, good, bad).items():
            with torch.no_grad():
                _require_refusal(what, name, call)
                require(not torch.is_grad_enabled(), f"after refusing {what} as {name}, gradients are switched on (N2)")
            _require_refusal(what, name, call)
            require(torch.is_grad_enabled(), f"after refusing {what} as {name}, gradients are switched off (N2)")


def _unusable(good: Tensor) -> dict[str, Tensor]:
    bad = {"no rows": good[:0], "integers": torch.zeros_like(good, dtype=torch.int64), "no event axis": good.flatten(1)[:, 0]}
    for what, number in {"NaN": math.nan, "infinity": math.inf, "1e20": 1e20}.items():
        bad[f"a row of {what}"] = good.clone()
        bad[f"a row of {what}"][3] = number
    return bad


def _calls(case: Case, good: Tensor, bad: Tensor) -> dict[str, Callable[[], Tensor]]:
    calls: dict[str, Callable[[], Tensor]] = {"x": lambda: case.divergence(bad, good), "y": lambda: case.divergence(good, bad)}
    if bad.is_floating_point():  # to_prior is annotated as taking floats, which a run-time type checker enforces before it can
        calls["x of to_prior"] = lambda: case.divergence.to_prior(bad, case.prior())
    return calls


def _require_refusal(what: str, name: str, call: Callable[[], Tensor]) -> None:
    try:
        value = call()
    except ValueError as error:
        require(name[0] in str(error).split(), f"the message about {what} as {name} does not name the argument: {error}")
    except Exception as error:
        raise AssertionError(f"{what} as {name} raises {type(error).__name__} instead of a ValueError: {error}") from error
    else:
        raise AssertionError(f"{what} as {name} is taken, and gives {value}; start an overridden to_prior with `self.checked(x)`")


def _mode(case: Case) -> None:
    """It leaves the gradient mode alone, records nothing where gradients are off, and changes neither sample (N2)."""
    x, y = case.cloud(8).requires_grad_(), case.cloud(8).requires_grad_()
    before = x.detach().clone(), y.detach().clone()
    with torch.no_grad():
        values = case.divergence(x, y), case.divergence.to_prior(x, case.prior())
        require(not torch.is_grad_enabled(), "after a call inside no_grad, gradients are switched on")
    require(not any(value.requires_grad for value in values), "a value computed inside no_grad still carries a graph")
    case.divergence(x, y)
    case.divergence.to_prior(x, case.prior())
    require(torch.is_grad_enabled(), "after a call, gradients are switched off")
    require_equal("x before and after", x.detach(), before[0])
    require_equal("y before and after", y.detach(), before[1])


def _seed(case: Case) -> None:
    """Its randomness is torch's: one seed, one value, to the bit; and `unchecked` changes no value."""
    x, y = case.cloud(16), case.cloud(16, at=1)
    for what, call in {"D(x, y)": lambda: case.value(x, y), "to_prior": lambda: case.value_to_prior(x)}.items():
        first = call()
        require_equal(f"{what} twice under one seed", first, call())
        with unchecked():
            require_equal(f"{what} checked and unchecked", first, call())


def _precision(case: Case) -> None:
    """It computes in float32 at least, half samples and autocast notwithstanding, and there within 1% of float64 (N4)."""
    for dtype in (torch.float16, torch.bfloat16):
        x, y = case.cloud(32).to(dtype), case.cloud(32, at=3).to(dtype)
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
    x, y = case.cloud(32), case.cloud(32, at=3)
    # Random numbers of another precision are other random numbers, so an estimate that draws some is compared in the mean.
    narrow, error = _mean_value(case, x, y)
    wide, wide_error = _mean_value(case, x.double(), y.double())
    require_close("float32 against float64", narrow, wide, rtol=0.01, atol=4 * (error + wide_error))


def _mean_value(case: Case, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """The mean over 32 seeds, and its standard error."""
    values = []
    for seed in range(32):
        with seeded(seed), torch.no_grad():
            values.append(case.divergence(x, y).double())
    return torch.stack(values).mean(), torch.stack(values).std().item() / len(values) ** 0.5


def _large(case: Case) -> None:
    """Wide events and large numbers give finite values and gradients: 12,288 coordinates at scale 10 (N4)."""
    x, y = (10 * torch.randn(8, 3, 64, 64, device=case.device) for _ in range(2))
    prior = StandardNormal((3, 64, 64)).to(case.device)
    x.requires_grad_()
    for value in (case.value(x, y), case.value_to_prior(x, prior)):
        require_finite("the value", value)
        require_finite("the gradient", *gradients(value, x))


def _description(case: Case) -> None:
    """`describe` gives text and numbers, for logs and tables."""
    described = case.divergence.describe(case.shape)
    require(isinstance(described, dict), f"it gives {described!r}; it should be a dict")
    for key, value in described.items():
        numbers = isinstance(value, list) and all(isinstance(number, int | float) for number in value)
        require(isinstance(key, str) and (isinstance(value, str | int | float) or numbers), f"{key!r} is {value!r}")


def _state(case: Case) -> None:
    """Its state is tensors alone, saved without pickle, and a copy that loads it gives the same values."""
    twin = copied(case.divergence)
    require_round_trip(case.divergence, twin)
    x, y = case.cloud(8), case.cloud(8)
    with seeded():
        value = twin(x, y)
    require_equal("the value after a round trip", case.value(x, y), value)


LAWS = (_schema, _scalar, _refusals, _mode, _seed, _precision, _large, _description, _state)
