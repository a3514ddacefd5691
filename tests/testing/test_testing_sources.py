"""`check_prior` and `check_source`: sound ones pass, and for every law there is one that breaks it and is told so."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from owae.interfaces import DataSource, Prior
from owae.model.defaults import StandardNormal
from owae.testing import check_prior, check_source


class Learnt(Prior):
    name = "learnt"

    def __init__(self, shape, /, *, scale: float = 1.0) -> None:
        super().__init__(shape)
        self.shift = nn.Parameter(scale * torch.randn(self.shape))

    def sample(self, n):
        return self.shift + torch.randn(n, *self.shape, dtype=self.anchor.dtype, device=self.anchor.device)


def test_sound_priors_pass():
    check_prior(StandardNormal, (2, 3))
    check_prior(Learnt, scale=2.0)


class OtherShape(Learnt):
    def sample(self, n):
        return super().sample(n).flatten(1)[:, None]


class Once(Learnt):
    drawn = None

    def sample(self, n):
        if self.drawn is None or len(self.drawn) != n:
            self.drawn = super().sample(n)
        return self.drawn


class OneRow(Learnt):
    def sample(self, n):
        return super().sample(1).expand(n, *self.shape)


class Float32(Learnt):
    def sample(self, n):
        return super().sample(n).float()


class Cut(Learnt):
    def sample(self, n):
        return super().sample(n).detach()


class ShapeForgotten(Learnt):
    def __init__(self, shape, /) -> None:
        super().__init__((1,))


class OwnGenerator(Learnt):
    generator = torch.Generator().manual_seed(0)

    def sample(self, n):
        return self.shift + torch.randn(n, *self.shape, dtype=self.anchor.dtype, generator=self.generator)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (OtherShape, "sample.1. has shape"),
        (Once, "must be fresh"),
        (OneRow, "all rows of a draw are the same"),
        (Float32, "has dtype torch.float32; it should be torch.float64"),
        (Cut, "has no gradient at all"),
        (ShapeForgotten, r"shape is \(1,\)"),
        (OwnGenerator, "one seed, one draw"),
    ],
)
def test_broken_priors_are_told_which_law(broken, law):
    with pytest.raises(AssertionError, match=f"(?s)breaks a law: .*{law}"):
        check_prior(broken)


class Numbers(DataSource):
    """Sixty pictures of noise, the first forty to train on."""

    name = "numbers"

    def __init__(self, split: str, /, *, size: int = 60) -> None:
        self.shape = (1, 2, 2)
        pictures = torch.rand(size, *self.shape, generator=torch.Generator().manual_seed(0))
        cut = size * 2 // 3
        self.pictures = self.keep(pictures, cut, split)
        self.labels = torch.arange(len(self.pictures)) % 3

    def keep(self, pictures: Tensor, cut: int, split: str) -> Tensor:
        return pictures[:cut] if split == "train" else pictures[cut:]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        return self.pictures[index]


class Bytes(Numbers):
    def keep(self, pictures, cut, split):
        return (255 * super().keep(pictures, cut, split)).to(torch.uint8)

    def batch(self, indices):
        return self.pictures[indices]


class Declares(Numbers):
    @classmethod
    def declared_shape(cls, *, size: int, **options):
        return (1, 2, 2) if size else None


def test_sound_sources_pass():
    check_source(Numbers)
    check_source(Numbers, size=6)
    check_source(Bytes, size=600)
    check_source(partial(Numbers, size=9))
    check_source(Declares, size=9)


class Empty(Numbers):
    def keep(self, pictures, cut, split):
        return super().keep(pictures, cut, split)[: None if split == "train" else 0]


class OtherTestShape(Numbers):
    def __init__(self, split, /) -> None:
        super().__init__(split)
        self.shape = (1, 2, 2) if split == "train" else (4,)


class DeclaresOther(Numbers):
    @classmethod
    def declared_shape(cls, *, size: int, **options):
        return (size, 2, 2)


class Leaves(Numbers):
    def keep(self, pictures, cut, split):
        return 2 * super().keep(pictures, cut, split) - 1


class HoldsNaN(Numbers):
    def keep(self, pictures, cut, split):
        kept = super().keep(pictures, cut, split).clone()
        kept[-1, 0, 0, 0] = torch.nan
        return kept


class Double(Numbers):
    def keep(self, pictures, cut, split):
        return super().keep(pictures, cut, split).double()


class Reversed(Numbers):
    def batch(self, indices):
        return self.pictures[indices.sort().values]


class Endless(Numbers):
    def __getitem__(self, index):
        return self.pictures[index % len(self)]


class FewLabels(Numbers):
    def __init__(self, split, /) -> None:
        super().__init__(split)
        assert self.labels is not None
        self.labels = self.labels[:-1]


class FloatLabels(Numbers):
    def __init__(self, split, /) -> None:
        super().__init__(split)
        assert self.labels is not None
        self.labels = self.labels.float()


class NegativeLabels(Numbers):
    def __init__(self, split, /) -> None:
        super().__init__(split)
        assert self.labels is not None
        self.labels = self.labels - 2


class FewNames(Numbers):
    class_names = ("none", "one")


class ListedNames(Numbers):
    class_names = ["none", "one", "two"]  # noqa: RUF012 # pyright: ignore[reportAssignmentType] # as a careless author may


class OtherNames(Numbers):
    def __init__(self, split, /) -> None:
        super().__init__(split)
        self.class_names = ("a", "b", split)


class Shuffles(Numbers):
    def keep(self, pictures, cut, split):
        return super().keep(pictures, cut, split)[torch.randperm(cut if split == "train" else len(pictures) - cut)]


class Stamped(Numbers):
    opened = 0

    def fingerprint(self):
        Stamped.opened += 1
        return str(Stamped.opened)


class Leaks(Numbers):
    def keep(self, pictures, cut, split):
        return pictures[:cut] if split == "train" else pictures[cut - 1 :]


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Empty, "the test split is empty"),
        (OtherTestShape, "both splits agree"),
        (DeclaresOther, r"options declare \(60, 2, 2\)"),
        (Leaves, "outside value_range"),
        (HoldsNaN, "holds NaN"),
        (Double, "not float32 or uint8"),
        (Reversed, "a train batch and the examples one by one"),
        (Endless, "IndexError"),
        (FewLabels, "labels have shape"),
        (FloatLabels, "classes are integers"),
        (NegativeLabels, "labels go down to -2"),
        (FewNames, "labels go up to 2, but there are names for 2 classes"),
        (ListedNames, "class_names are"),
        (OtherNames, "call their classes differently"),
        (Shuffles, "whatever the seed of the program"),
        (Stamped, "another fingerprint each time"),
        (Leaks, "No test example is a training example"),
    ],
)
def test_broken_sources_are_told_which_law(broken, law):
    with pytest.raises(AssertionError, match=f"(?s)breaks a law: .*{law}"):
        check_source(broken)


def test_a_share_of_equal_pictures_can_be_allowed():
    check_source(Leaks, shared=0.1)
