"""The laws of `Cost` and `Regulariser`: what turns the rows of a batch into one number each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from owae.distributions import Dirac, Gaussian
from owae.interfaces import Cost, Regulariser, Shape
from owae.testing import require
from owae.testing.laws import Case, Report, run

BATCH = 6
COPIES = 100


@dataclass(frozen=True)
class _CostCase(Case[Cost]):
    expectation: bool

    def gaussian(self, batch: int = BATCH, dtype: torch.dtype = torch.float32) -> Gaussian:
        return Gaussian(self.events(batch, dtype), 0.1 + self.events(batch, dtype).square())

    def ways(self) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
        """Every way to a number a row, from the data and a decoder's mean and variance."""
        return {
            "forward(x, y)": lambda x, mean, variance: self.component(x, mean),
            "expected(x, Gaussian)": lambda x, mean, variance: self.component.expected(x, Gaussian(mean, variance)),
            "expected(x, Dirac)": lambda x, mean, variance: self.component.expected(x, Dirac(mean)),
        }


def check_cost(
    cost: Cost, *, shape: Shape = (2, 4, 4), device: str = "cpu", expectation: bool = True, report: Report | None = None
) -> None:
    """Checks a cost, on events of `shape`, against the laws of its interface; see `owae.testing`.

    Args:
        expectation: Whether `expected` is the mean of `forward` over draws. False for one that reads the decoder's density instead.

    Raises:
        AssertionError: It breaks a law.
    """
    run(cost, Cost, COST_LAWS, _CostCase(cost, tuple(shape), device, expectation), report)


def _cost_rows(case: _CostCase) -> None:
    """It gives one finite number a row, in the data's precision, for any batch."""
    for batch in (1, BATCH):
        for dtype in (torch.float32, torch.float64):
            x, p = case.events(batch, dtype), case.gaussian(batch, dtype)
            for what, call in case.ways().items():
                require.form(f"{what} of a batch of {batch}", call(x, p.mean, p.variance), (batch,), dtype)


def _cost_independence(case: _CostCase) -> None:
    """A row's number depends on that row alone: no mean over the batch has crept in."""
    x, y = case.events(BATCH), case.events(BATCH)
    for what in ("forward(x, y)", "expected(x, Dirac)"):
        call = case.ways()[what]
        alone = torch.cat([call(x[i : i + 1], y[i : i + 1], y) for i in range(BATCH)])
        require.close(f"{what}, rows one by one and together", alone, call(x, y, y), rtol=1e-4, atol=1e-5)


def _cost_expectation(case: _CostCase) -> None:
    """`expected` is the mean of the cost over draws, and over a Dirac the cost itself."""
    x, p = case.events(BATCH, torch.float64), case.gaussian(dtype=torch.float64)
    require.close("expected over a Dirac against forward", case.component.expected(x, Dirac(p.mean)), case.component(x, p.mean))
    if not case.expectation:
        return
    # Rows depend on themselves alone, by the law before this one: copies of a batch in one are as many draws.
    x, mean, variance = (part.repeat(COPIES, *[1] * len(case.shape)) for part in (x, p.mean, p.variance))
    p = Gaussian(mean, variance)
    with torch.no_grad():
        told = torch.cat([case.component.expected(x, p).view(COPIES, BATCH) for _ in range(2000 // COPIES)])
        drawn = torch.cat([case.component(x, p.rsample()).view(COPIES, BATCH) for _ in range(8000 // COPIES)])
    require.same_mean("expected, and the mean over 8,000 draws", told.unbind(), drawn.unbind(), rtol=1e-6, errors=5)


def _cost_gradients(case: _CostCase) -> None:
    """Gradients reach both arguments, are those of the value, and are finite where both agree, in some rows, or everywhere."""
    x, y = case.events(BATCH), case.events(BATCH)
    some = torch.cat([x[:3], y[3:]])
    for what, (left, right) in {"apart": (x, y), "some rows equal": (x, some), "equal": (x, x), "zeros": (0 * x, 0 * x)}.items():
        left, right = left.clone().requires_grad_(), right.clone().requires_grad_()
        for value in (case.component(left, right), case.component.expected(left, Dirac(right))):
            require.finite(f"the value of samples {what}", value)
            require.finite(f"the gradient of samples {what}", *require.gradients(value, left, right))
    x, p = case.events(BATCH, torch.float64), case.gaussian(dtype=torch.float64)
    for call in case.ways().values():
        require.true_gradients(call, x, p.mean, p.variance, rtol=1e-4)


def _cost_neutrality(case: _CostCase) -> None:
    """Memory layout does not matter, nothing is written to, the gradient mode stays, one seed gives one value, and none is set."""
    x, p = case.events(BATCH), case.gaussian()
    for what, call in case.ways().items():
        require.neutral(what, call, x, p.mean, p.variance)


def _cost_state(case: _CostCase) -> None:
    """Its state is tensors alone, saved without pickle, and a copy that loads it gives the same values."""
    x, y = case.events(BATCH), case.events(BATCH)
    require.round_trip(case.component, copy.deepcopy(case.component), lambda cost: cost(x, y))


COST_LAWS = (_cost_rows, _cost_neutrality, _cost_independence, _cost_expectation, _cost_gradients, _cost_state)


def check_regulariser(regulariser: Regulariser, *, shape: Shape = (4,), device: str = "cpu", report: Report | None = None) -> None:
    """Checks a regulariser, on events of `shape`, against the laws of its interface; see `owae.testing`.

    Raises:
        AssertionError: It breaks a law.
    """
    run(regulariser, Regulariser, PENALTY_LAWS, Case(regulariser, tuple(shape), device), report)


def _output(case: Case[Regulariser], dtype: torch.dtype = torch.float32) -> Tensor:
    """What a network would give: means, then logits of the variance."""
    return case.events(BATCH, dtype, shape=(2 * case.shape[0], *case.shape[1:]))


def _penalty_rows(case: Case[Regulariser]) -> None:
    """It gives one finite number a row, in the moments' precision, each depending on that row alone."""
    for dtype in (torch.float32, torch.float64):
        q = Gaussian.from_network(_output(case, dtype))
        value = case.component(q)
        require.form("the penalty", value, (BATCH,), dtype)
        alone = [case.component(Gaussian(q.mean[i : i + 1], q.variance[i : i + 1])) for i in range(BATCH)]
        require.close("rows one by one and together", torch.cat(alone), value, rtol=1e-4, atol=1e-5)


def _penalty_extremes(case: Case[Regulariser]) -> None:
    """Values and gradients are finite for any network output, however extreme, and at variance 1 and mean 0."""
    for scale in (0, 1, 100, 1e4):
        output = (scale * _output(case)).requires_grad_()
        value = case.component(Gaussian.from_network(output))
        require.finite(f"the penalty of network outputs at scale {scale}", value)
        require.finite(f"its gradient at scale {scale}", *require.gradients(value, output))
    mean = torch.zeros(BATCH, *case.shape, device=case.device).requires_grad_()
    variance = torch.ones(BATCH, *case.shape, device=case.device).requires_grad_()
    reached = require.gradients(case.component(Gaussian(mean, variance)), mean, variance)
    require.finite("the gradient at variance 1", *(gradient for gradient in reached if gradient is not None))


def _penalty_gradients(case: Case[Regulariser]) -> None:
    """Its gradients are those of its value."""
    output = _output(case, torch.float64)
    require.true_gradients(lambda output: case.component(Gaussian.from_network(output)), output, rtol=1e-4)


def _penalty_neutrality(case: Case[Regulariser]) -> None:
    """Memory layout does not matter, nothing is written to, the gradient mode stays, one seed gives one value, and none is set."""
    q = Gaussian.from_network(_output(case))
    require.neutral("the penalty", lambda mean, variance: case.component(Gaussian(mean, variance)), q.mean, q.variance)


def _penalty_dirac(case: Case[Regulariser]) -> None:
    """A deterministic encoder gives a number a row, or a ValueError that says why it cannot."""
    try:
        value = case.component(Dirac(_output(case)))
    except ValueError:
        return
    require.form("the penalty on a Dirac", value, (BATCH,), torch.float32)


PENALTY_LAWS = (_penalty_rows, _penalty_extremes, _penalty_gradients, _penalty_neutrality, _penalty_dirac)
