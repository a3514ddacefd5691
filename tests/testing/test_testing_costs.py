"""`check_cost` and `check_regulariser`: sound ones pass, and for every law there is one that breaks it and is told so."""

from __future__ import annotations

import pytest
from toys import Bounded, Spread

from owae.distributions import Dirac
from owae.interfaces import Cost, Regulariser
from owae.testing import check_cost, check_regulariser


class Scalar(Bounded):
    def forward(self, x, y):
        return super().forward(x, y).mean()


class BatchMean(Bounded):
    def forward(self, x, y):
        return super().forward(x, y).mean().expand(len(x))


class KeepsEvent(Bounded):
    def forward(self, x, y):
        return (x - y).square()


class Doubles(Bounded):
    def forward(self, x, y):
        return super().forward(x.double(), y.double())


class NoSlopeAtZero(Bounded):
    def forward(self, x, y):
        return (x - y).square().flatten(1).sum(1).sqrt()


class ForgetsVariance(Cost):
    name = "forgets-variance"

    def forward(self, x, y):
        return (x - y).square().flatten(1).sum(1)

    def expected(self, x, p):
        return self(x, p.mean)


class WrongAtDirac(Bounded):
    def expected(self, x, p):
        return 2 * super().expected(x, p) if isinstance(p, Dirac) else super().expected(x, p)


class DetachedTarget(Bounded):
    def forward(self, x, y):
        return super().forward(x.detach(), y)


class WritesData(Bounded):
    def forward(self, x, y):
        value = super().forward(x, y)
        x.detach().mul_(0.5)
        return value


class Seeds(Bounded):
    calls = 0

    def expected(self, x, p):
        type(self).calls += 1
        return super().expected(x, p) + 1e-4 * (self.calls % 7)


class StatefulCost(Bounded):
    def get_extra_state(self):
        return {"steps": 3}


class UnresolvedOption(Bounded):
    def __init__(self, *, scale: Missing = 1) -> None:  # pyright: ignore[reportUndefinedVariable] # the breach
        super().__init__()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Scalar(), "one finite number a row"),
        (BatchMean(), "no mean over the batch"),
        (KeepsEvent(), "one finite number a row"),
        (Doubles(), "in the data's precision"),
        (NoSlopeAtZero(), "finite where both agree"),
        (ForgetsVariance(), "mean of the cost over draws"),
        (WrongAtDirac(), "over a Dirac the cost itself"),
        (DetachedTarget(), "Gradients reach both"),
        (WritesData(), "nothing is written to"),
        (Seeds(), "one seed gives one value"),
        (StatefulCost(), "tensors alone"),
        (UnresolvedOption(), "does not resolve"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Cost) else "",
)
def test_broken_costs_are_told_which_law(broken, law):
    with pytest.raises(AssertionError, match=f"(?s){type(broken).__name__} '.*' breaks a law: .*{law}"):
        check_cost(broken)


class MeanPenalty(Spread):
    def forward(self, q):
        return super().forward(q).mean()


class Centred(Spread):
    def forward(self, q):
        return (q.variance - q.variance.mean(0)).square().flatten(1).sum(1)


class NeedsBounds(Spread):
    def forward(self, q):
        return (q.variance - 1).square().flatten(1).sum(1).sqrt()


class WrongSlope(Spread):
    def forward(self, q):
        value = super().forward(q)
        return value + 0.5 * (value.detach() - value)


class NaNOnDirac(Spread):
    def forward(self, q):
        return (q.variance / q.variance.abs() * q.variance).flatten(1).sum(1)


class DoublePenalty(Spread):
    def forward(self, q):
        return super().forward(q).double()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (MeanPenalty(), "one finite number a row"),
        (Centred(), "depending on that row alone"),
        (NeedsBounds(), "at variance 1"),
        (WrongSlope(), "gradients are those of its value"),
        (NaNOnDirac(), "deterministic encoder"),
        (DoublePenalty(), "in the moments' precision"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Regulariser) else "",
)
def test_broken_regularisers_are_told_which_law(broken, law):
    with pytest.raises(AssertionError, match=f"(?s){type(broken).__name__} 'spread' breaks a law: .*{law}"):
        check_regulariser(broken)


def test_a_sound_regulariser_passes():
    check_regulariser(Spread())
    check_regulariser(Spread(), shape=(2, 3, 3))
