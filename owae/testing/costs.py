"""The laws of `Cost` and `Regulariser`: what turns the rows of a batch into one number each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from owae.distributions import Dirac, Distribution, Gaussian
from owae.interfaces import Component, Cost, Regulariser, Shape
from owae.testing.laws import (
    copied,
    gradients,
    require,
    require_close,
    require_equal,
    require_finite,
    require_round_trip,
    require_rows,
    require_schema,
    require_true_gradients,
    run,
    seeded,
    strided,
)

BATCH = 6


@dataclass(frozen=True)
class _CostCase:
    cost: Cost
    shape: Shape
    device: torch.device
    expectation: bool

    def data(self, batch: int = BATCH, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(batch, *self.shape, device=self.device, dtype=dtype)

    def gaussian(self, batch: int = BATCH, dtype: torch.dtype = torch.float32) -> Gaussian:
        return Gaussian(self.data(batch, dtype), 0.1 + self.data(batch, dtype).square())

    def ways(self, x: Tensor, p: Gaussian) -> dict[str, Callable[[], Tensor]]:
        return {
            "forward(x, y)": lambda: self.cost(x, p.mean),
            "expected(x, Gaussian)": lambda: self.cost.expected(x, p),
            "expected(x, Dirac)": lambda: self.cost.expected(x, Dirac(p.mean)),
        }


def check_cost(cost: Cost, *, shape: Shape = (2, 4, 4), device: str = "cpu", expectation: bool = True) -> None:
    """Check a cost against the laws of its interface.

    Args:
        cost: The instance.
        shape: Shape of the events to try it on.
        device: Where to try it.
        expectation: Whether `expected` is the mean of `forward` over draws. False for one that reads the decoder's density instead.

    Raises:
        AssertionError: It breaks a law.
    """
    if not isinstance(cost, Cost):
        raise AssertionError(f"{cost!r} is no instance of a Cost")
    run(cost, COST_LAWS, _CostCase(cost, tuple(shape), torch.device(device), expectation))


def _cost_schema(case: _CostCase) -> None:
    """Its class can be registered: a name, keyword-only options that resolve, defaults that fit them."""
    require_schema(type(case.cost))


def _cost_rows(case: _CostCase) -> None:
    """It gives one finite number a row, in the data's precision, for any batch."""
    for batch in (1, BATCH):
        for dtype in (torch.float32, torch.float64):
            x, p = case.data(batch, dtype), case.gaussian(batch, dtype)
            for what, call in case.ways(x, p).items():
                value = call()
                require_rows(f"{what} of a batch of {batch}", value, batch, dtype)
                require_finite(what, value)


def _cost_independence(case: _CostCase) -> None:
    """A row's number depends on that row alone: no mean over the batch has crept in."""
    x, y = case.data(), case.data()
    alone = torch.cat([case.cost(x[i : i + 1], y[i : i + 1]) for i in range(BATCH)])
    require_close("rows one by one and together", alone, case.cost(x, y), rtol=1e-4, atol=1e-5)
    dirac = torch.cat([case.cost.expected(x[i : i + 1], Dirac(y[i : i + 1])) for i in range(BATCH)])
    require_close("expected, one by one and together", dirac, case.cost.expected(x, Dirac(y)), rtol=1e-4, atol=1e-5)


def _cost_expectation(case: _CostCase) -> None:
    """`expected` is the mean of the cost over draws, and over a Dirac the cost itself."""
    x, p = case.data(dtype=torch.float64), case.gaussian(dtype=torch.float64)
    require_close("expected over a Dirac against forward", case.cost.expected(x, Dirac(p.mean)), case.cost(x, p.mean))
    if not case.expectation:
        return
    with torch.no_grad():
        told = torch.stack([case.cost.expected(x, p) for _ in range(2000)])
        drawn = torch.stack([case.cost(x, p.rsample()) for _ in range(8000)])
    error = 5 * (told.var(0) / len(told) + drawn.var(0) / len(drawn)).sqrt().max().item()
    require_close("expected, and the mean over 8,000 draws", told.mean(0), drawn.mean(0), rtol=1e-6, atol=error)


def _cost_gradients(case: _CostCase) -> None:
    """Gradients reach both arguments, are those of the value, and are finite where both agree, in some rows, or everywhere (N3)."""
    x, y = case.data(), case.data()
    some = torch.cat([x[:3], y[3:]])
    for what, (left, right) in {"apart": (x, y), "some rows equal": (x, some), "equal": (x, x), "zeros": (0 * x, 0 * x)}.items():
        left, right = left.clone().requires_grad_(), right.clone().requires_grad_()
        for value in (case.cost(left, right), case.cost.expected(left, Dirac(right))):
            require_finite(f"the value of samples {what}", value)
            require_finite(f"the gradient of samples {what}", *gradients(value, left, right))
    x, mean, variance = case.data(dtype=torch.float64), case.data(dtype=torch.float64), case.gaussian(dtype=torch.float64).variance
    require_true_gradients(case.cost, x, mean, rtol=1e-4)
    require_true_gradients(lambda x, mean, variance: case.cost.expected(x, Gaussian(mean, variance)), x, mean, variance, rtol=1e-4)


def _cost_neutrality(case: _CostCase) -> None:
    """Memory layout does not matter, nothing is written to, the gradient mode stays, one seed gives one value."""
    x, p = case.data(), case.gaussian()
    before = x.clone(), p.mean.clone()
    for what, call in case.ways(x, p).items():
        with seeded():
            value = call()
        require_equal(f"x before and after {what}", x, before[0])
        require_equal(f"y before and after {what}", p.mean, before[1])
        with seeded(), torch.no_grad():
            require_equal(f"{what} twice under one seed", call(), value.detach())
            require(not torch.is_grad_enabled(), f"{what} switches gradients on")
    require_close("strided memory against contiguous", case.cost(strided(x), strided(p.mean)), case.cost(x, p.mean), rtol=1e-4)


def _cost_state(case: _CostCase) -> None:
    """Its state is tensors alone, saved without pickle, and a copy that loads it gives the same values."""
    twin = copied(case.cost)
    require_round_trip(case.cost, twin)
    x, y = case.data(), case.data()
    require_equal("the cost after a round trip", twin(x, y), case.cost(x, y))


COST_LAWS = (_cost_schema, _cost_rows, _cost_neutrality, _cost_independence, _cost_expectation, _cost_gradients, _cost_state)


@dataclass(frozen=True)
class _PenaltyCase:
    regulariser: Regulariser
    shape: Shape
    device: torch.device

    def output(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """What a network would give: means, then logits of the variance."""
        return torch.randn(BATCH, 2 * self.shape[0], *self.shape[1:], device=self.device, dtype=dtype)


def check_regulariser(regulariser: Regulariser, *, shape: Shape = (4,), device: str = "cpu") -> None:
    """Check a regulariser against the laws of its interface.

    Args:
        regulariser: The instance.
        shape: Shape of the events to try it on.
        device: Where to try it.

    Raises:
        AssertionError: It breaks a law.
    """
    if not isinstance(regulariser, Regulariser):
        raise AssertionError(f"{regulariser!r} is no instance of a Regulariser")
    run(regulariser, PENALTY_LAWS, _PenaltyCase(regulariser, tuple(shape), torch.device(device)))


def _penalty_schema(case: _PenaltyCase) -> None:
    """Its class can be registered: a name, keyword-only options that resolve, defaults that fit them."""
    cls: type[Component] = type(case.regulariser)
    require_schema(cls)


def _penalty_rows(case: _PenaltyCase) -> None:
    """It gives one finite number a row, in the moments' precision, each depending on that row alone."""
    for dtype in (torch.float32, torch.float64):
        q = Gaussian.from_network(case.output(dtype))
        value = case.regulariser(q)
        require_rows("the penalty", value, BATCH, dtype)
        alone = [case.regulariser(Gaussian(q.mean[i : i + 1], q.variance[i : i + 1])) for i in range(BATCH)]
        require_close("rows one by one and together", torch.cat(alone), value, rtol=1e-4, atol=1e-5)


def _penalty_extremes(case: _PenaltyCase) -> None:
    """Values and gradients are finite for any network output, however extreme, and at variance 1 and mean 0."""
    for scale in (0, 1, 100, 1e4):
        output = (scale * case.output()).requires_grad_()
        value = case.regulariser(Gaussian.from_network(output))
        require_finite(f"the penalty of network outputs at scale {scale}", value)
        require_finite(f"its gradient at scale {scale}", *gradients(value, output))
    mean, variance = torch.zeros(BATCH, *case.shape), torch.ones(BATCH, *case.shape)
    mean, variance = mean.to(case.device).requires_grad_(), variance.to(case.device).requires_grad_()
    reached = [
        gradient for gradient in gradients(case.regulariser(Gaussian(mean, variance)), mean, variance) if gradient is not None
    ]
    require_finite("the gradient at variance 1", *reached)


def _penalty_gradients(case: _PenaltyCase) -> None:
    """Its gradients are those of its value."""
    output = case.output(torch.float64)
    require_true_gradients(lambda output: case.regulariser(Gaussian.from_network(output)), output, rtol=1e-4)


def _penalty_dirac(case: _PenaltyCase) -> None:
    """A deterministic encoder gives a number a row, or a ValueError that says why it cannot."""
    q: Distribution = Dirac(case.output())
    try:
        value = case.regulariser(q)
    except ValueError:
        return
    require_rows("the penalty on a Dirac", value, BATCH, torch.float32)
    require_finite("the penalty on a Dirac", value)


PENALTY_LAWS = (_penalty_schema, _penalty_rows, _penalty_extremes, _penalty_gradients, _penalty_dirac)
