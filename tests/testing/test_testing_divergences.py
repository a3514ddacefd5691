"""`check_divergence`: sound divergences pass, and for every law there is one that breaks it and is told so."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from toys import Moments

from owae.interfaces import Divergence
from owae.testing import check_divergence


class Energy(Divergence):
    """The energy distance, unbiased, safe at equal points; the sound divergence that the broken ones below spoil."""

    name = "energy"

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        squared = (x.flatten(1)[:, None] - y.flatten(1)[None]).square().sum(-1)
        return torch.where(squared > 0, torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)

    def within(self, x: Tensor) -> Tensor:
        return self.distances(x, x).sum() / max(len(x) * (len(x) - 1), 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * self.distances(x, y).mean() - self.within(x) - self.within(y)


class Sliced(Energy):
    """One with draws of its own."""

    name = "sliced"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        directions = torch.randn(x[0].numel(), 50, device=x.device, dtype=x.dtype)
        return super().forward(x.flatten(1) @ directions / 50, y.flatten(1) @ directions / 50)


@pytest.mark.parametrize("shape", [(4,), (1,), (2, 3, 3)])
@pytest.mark.parametrize("divergence", [Energy(), Sliced(), Moments()], ids=lambda divergence: divergence.name)
def test_sound_divergences_pass(divergence, shape):
    check_divergence(divergence, shape=shape, translation_invariant=not isinstance(divergence, Moments))


class Positional(Energy):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()


class UnfitDefault(Energy):
    def __init__(self, *, scale: float = "one") -> None:  # pyright: ignore[reportArgumentType] # the breach
        super().__init__()


class Vector(Energy):
    def forward(self, x, y):
        return super().forward(x, y)[None]


class NeedsTwo(Energy):
    def within(self, x):
        return self.distances(x, x).sum() / (len(x) * (len(x) - 1))


class EqualCountsOnly(Energy):
    def forward(self, x, y):
        return (x - y).square().mean()


class Narrow(Energy):
    def forward(self, x, y):
        return super().forward(x.float(), y.float())


class Unguarded(Energy):
    """A closed form that forgets `self.checked`."""

    def to_prior(self, x, prior):
        return Divergence.to_prior(self, x.nan_to_num().clamp(-10, 10), prior)


class OwnMessage(Energy):
    def __call__(self, x, y):
        if x.numel() == 0 or not x.isfinite().all():
            raise ValueError("cannot reduce over no elements")
        return super().__call__(x, y)


class InnerError(Energy):
    def __call__(self, x, y):
        torch.linalg.cholesky(torch.cov(x.flatten(1).T.double(), correction=0) + torch.eye(x[0].numel()))
        return super().__call__(x, y)


class GradientsOn(Energy):
    def forward(self, x, y):
        torch.set_grad_enabled(True)
        return super().forward(x, y)


class GraphInNoGrad(Energy):
    def forward(self, x, y):
        with torch.enable_grad():
            return super().forward(x, y)


class Writes(Energy):
    def forward(self, x, y):
        value = super().forward(x, y)
        x.detach().add_(1.0)
        return value


class OwnGenerator(Energy):
    calls = 0

    def forward(self, x, y):
        type(self).calls += 1
        return super().forward(x, y) * (1 + 0.01 * math.sin(self.calls))


class HalfInside(Energy):
    def forward(self, x, y):
        return super().forward(x.bfloat16(), y.bfloat16()).to(x.dtype)


class Autocast(Energy):
    """Multiplies under the caller's autocast, since it replaces `__call__`."""

    def __call__(self, x, y):
        x, y = x if x.dtype == torch.float64 else x.float(), y if y.dtype == torch.float64 else y.float()
        return nn.Module.__call__(self, x, y)

    def forward(self, x, y):
        weights = torch.full((x[0].numel(), 3), 1 / 3, dtype=x.dtype)
        return super().forward(x.flatten(1) @ weights, y.flatten(1) @ weights)


class Overflows(Energy):
    def forward(self, x, y):
        return super().forward(x, y) * (x.square().sum(1).exp().mean() / x.square().sum(1).exp().mean())


class DescribesTensors(Energy):
    def describe(self, shape):  # pyright: ignore[reportIncompatibleMethodOverride] # the breach
        return {"scales": torch.ones(2)}


class NotZero(Energy):
    def forward(self, x, y):
        return super().forward(x, y) + 1.0


class InfiniteSlope(Energy):
    def distances(self, x, y):
        return (x.flatten(1)[:, None] - y.flatten(1)[None]).square().sum(-1).sqrt()


class Blind(Energy):
    def forward(self, x, y):
        return super().forward(x, y) * 0 + x.mean() * 0


class Negated(Energy):
    def forward(self, x, y):
        return -super().forward(x, y)


class Ordered(Energy):
    def forward(self, x, y):
        ramp = torch.linspace(0.5, 1.5, len(x), dtype=x.dtype).view(-1, *[1] * (x.ndim - 1))
        return super().forward(x * ramp, y * ramp.mean())


class Memory(Energy):
    def forward(self, x, y):
        return super().forward(torch.as_strided(x, x.shape, torch.empty(x.shape).stride()), y)


class Cancels(Energy):
    """Distances by the expanded square, which loses its digits far from the origin."""

    def distances(self, x, y):
        x, y = x.flatten(1), y.flatten(1)
        squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        return squared.clamp(min=1e-12).sqrt()


class OneSided(Energy):
    def forward(self, x, y):
        return super().forward(x, y.detach())


class WrongGradient(Energy):
    def forward(self, x, y):
        value = super().forward(x, y)
        return value + (value.detach() - value) * 0.1


class WrongClosedForm(Energy):
    def to_prior(self, x, prior):
        return 1.3 * super().to_prior(self.checked(x), prior)


class WrongForOtherPriors(Energy):
    def to_prior(self, x, prior):
        x = self.checked(x)
        return self(x, torch.randn(len(x), *prior.shape, dtype=x.dtype) + 0 * prior.sample(len(x)))


class Stateful(Energy):
    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Positional(), "keyword-only options"),
        (UnfitDefault(), "defaults that fit"),
        (Vector(), "gives a finite scalar"),
        (NeedsTwo(), "for any numbers of samples"),
        (EqualCountsOnly(), "for any numbers of samples"),
        (Narrow(), "in the samples' precision"),
        (Unguarded(), "names the argument.*self.checked"),
        (OwnMessage(), "does not name the argument"),
        (InnerError(), "instead of a ValueError"),
        (GradientsOn(), "gradient mode"),
        (GraphInNoGrad(), "still carries a graph"),
        (Writes(), "changes neither sample"),
        (OwnGenerator(), "one seed, one value"),
        (HalfInside(), "within 1% of float64|Far from the origin"),
        (Autocast(), "names the argument"),
        (Overflows(), "Wide events"),
        (DescribesTensors(), "describe"),
        (NotZero(), "near 0"),
        (InfiniteSlope(), "finite"),
        (Blind(), "clearly more|no gradient reaches"),
        (Negated(), "clearly more"),
        (Ordered(), "order of the rows"),
        (Memory(), "how samples lie in memory"),
        (Cancels(), "Far from the origin"),
        (OneSided(), "nothing flows there|no gradient reaches y"),
        (WrongGradient(), "are those of the value"),
        (WrongClosedForm(), "has the mean of the divergence from the prior's draws"),
        (WrongForOtherPriors(), "prior's parameter|whatever the prior"),
        (Stateful(), "tensors alone"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Divergence) else "",
)
def test_broken_divergences_are_told_which_law(broken, law):
    with pytest.raises(AssertionError, match=f"(?s){type(broken).__name__} 'energy' breaks a law: .*{law}"):
        check_divergence(broken)


@pytest.mark.slow
def test_intended_exceptions_are_keywords():
    check_divergence(NotZero(), zero_at_equality=False)
    check_divergence(WrongGradient(), gradient_rtol=0.2)
    check_divergence(WrongClosedForm(), closed_form_rtol=0.5)
    with pytest.raises(AssertionError, match="Far from the origin"):
        check_divergence(Moments())
