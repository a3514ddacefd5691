"""`check_layer`: sound layers pass, and for every law there is one that breaks it and is told so."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toys import Affine

from owae.distributions import Gaussian
from owae.testing import check_layer


@pytest.mark.parametrize("in_shape", [(5,), (1, 4, 4)])
def test_sound_layers_pass(in_shape):
    check_layer(Affine, in_shape, latent=3)
    check_layer(lambda shape: Affine(shape, latent=3), in_shape)


class Spoilt(Affine):
    """A sound layer whose encoder's distribution goes through `spoil`, which does nothing until it is overridden."""

    name = "spoilt"

    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)

    def encode(self, x):
        return self.spoil(super().encode(x), x)

    def spoil(self, q, x):
        return q


class WrongShape(Spoilt):
    def spoil(self, q, x):
        return Gaussian(q.mean[:, None], q.variance[:, None])


class NaNOnBlack(Spoilt):
    def spoil(self, q, x):
        return Gaussian(q.mean / x.flatten(1).norm(dim=1, keepdim=True), q.variance)


class NegativeVariance(Spoilt):
    def spoil(self, q, x):
        return Gaussian(q.mean, q.variance - 5)


class Loud(Gaussian):
    def rsample(self):
        return self.mean + 2 * self.variance.sqrt() * torch.randn_like(self.mean)


class Shifted(Gaussian):
    def rsample(self):
        return super().rsample() + 1


class Detached(Gaussian):
    def rsample(self):
        return super().rsample().detach()


class LoudDraws(Spoilt):
    def spoil(self, q, x):
        return Loud(q.mean, q.variance)


class ShiftedDraws(Spoilt):
    def spoil(self, q, x):
        return Shifted(q.mean, q.variance)


class DetachedDraws(Spoilt):
    def spoil(self, q, x):
        return Detached(q.mean, q.variance)


class SpareParameter(Spoilt):
    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.spare = nn.Parameter(torch.ones(2))

    def spoil(self, q, x):
        return q


class InfiniteSlope(Spoilt):
    def spoil(self, q, x):
        return Gaussian(q.mean + x.flatten(1).square().sum(1, keepdim=True).sqrt(), q.variance)


class AcrossRows(Spoilt):
    def spoil(self, q, x):
        return Gaussian(q.mean - q.mean.mean(0), q.variance)


class Restless(Spoilt):
    def spoil(self, q, x):
        return Gaussian(q.mean + 1e-3 * torch.randn_like(q.mean), q.variance)


class PlainBatchNorm(Spoilt):
    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.norm = nn.BatchNorm1d(latent)

    def spoil(self, q, x):
        return Gaussian(self.norm(q.mean), q.variance)


class FalseRange(Spoilt):
    output_range = (0.0, 1.0)

    def spoil(self, q, x):
        return q


class HalfMoments(Spoilt):
    def spoil(self, q, x):
        q.mean = q.mean.half()
        return q


class SingleOnly(Spoilt):
    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.scale = torch.ones(latent)  # not a buffer, so it stays behind when the module moves

    def spoil(self, q, x):
        return Gaussian((q.mean * self.scale).float(), q.variance)


class WritesInput(Spoilt):
    def spoil(self, q, x):
        if not torch.is_grad_enabled() or not x.requires_grad:
            x.detach().mul_(0.5)
        return q


class ReadsMemory(Spoilt):
    def spoil(self, q, x):
        again = torch.as_strided(x, x.shape, torch.empty(x.shape).stride())
        return Gaussian(q.mean + again.flatten(1).mean(1, keepdim=True), q.variance)


class OwnNoise(Spoilt):
    generator = torch.Generator().manual_seed(0)

    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.offset = nn.Parameter(torch.randn(latent, generator=self.generator))

    def spoil(self, q, x):
        return Gaussian(q.mean + self.offset, q.variance)


class HiddenState(Spoilt):
    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.register_buffer("offset", torch.randn(latent), persistent=False)

    def spoil(self, q, x):
        return Gaussian(q.mean + self.offset, q.variance)


class WrongLatentShape(Spoilt):
    def __init__(self, in_shape, /, *, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)
        self.latent_shape = latent  # pyright: ignore[reportAttributeAccessIssue] # the breach

    def spoil(self, q, x):
        return q


class PositionalOption(Spoilt):
    def __init__(self, in_shape, latent: int = 3) -> None:
        super().__init__(in_shape, latent=latent)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (WrongShape, "the right events"),
        (NaNOnBlack, "at scale 0.*NaN"),
        (NegativeVariance, "variance is not at least 0"),
        (LoudDraws, "times the variance it says"),
        (ShiftedDraws, "standard errors"),
        (DetachedDraws, "detached from the layer"),
        (SpareParameter, "gradient of spare .*nothing flows there"),
        (InfiniteSlope, "for black images"),
        (AcrossRows, "each row is on its own"),
        (Restless, "mean twice"),
        (PlainBatchNorm, "a ValueError that says why"),
        (FalseRange, "leave output_range"),
        (HalfMoments, "float32"),
        (SingleOnly, "follow the module to float64"),
        (WritesInput, "not written to|mean twice"),
        (ReadsMemory, "lies in memory"),
        (OwnNoise, "One seed, one layer"),
        (HiddenState, "after a round trip"),
        (WrongLatentShape, "latent_shape is 3"),
        (PositionalOption, "neither the engine's"),
    ],
)
def test_broken_layers_are_told_which_law(broken, law):
    with pytest.raises(AssertionError, match=f"(?s)breaks a law: .*{law}"):
        check_layer(broken, (4,))
