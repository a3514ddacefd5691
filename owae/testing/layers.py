"""The laws of `LatentLayer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from owae.distributions import Distribution
from owae.interfaces import LatentLayer, Shape
from owae.testing import require
from owae.testing.laws import Made, Report, run
from owae.testing.require import seeded

BATCH = 16


class _Case(Made[LatentLayer]):
    def ways(self, layer: LatentLayer, batch: int = BATCH) -> dict[str, tuple[Callable[[Tensor], Distribution], Tensor, Shape]]:
        """Returns, for both directions, the function, its input and the shape of the events it gives."""
        return {
            "encode": (layer.encode, self.events(batch), tuple(layer.latent_shape)),
            "decode": (layer.decode, self.events(batch, shape=layer.latent_shape), self.shape),
        }


def check_layer(
    layer: Callable[..., LatentLayer], /, in_shape: Shape, *, device: str = "cpu", report: Report | None = None, **options: Any
) -> None:
    """Checks a layer (its class, or a function that makes an instance as that would) on events of `in_shape`; see `owae.testing`.

    Raises:
        AssertionError: It breaks a law.
    """
    case = _Case(lambda: layer(tuple(in_shape), **options), tuple(in_shape), device)
    run(case.made(), LatentLayer, LAWS, case, report)


def _shapes(case: _Case) -> None:
    """It says its shapes: in_shape as given, latent_shape a tuple of positive integers."""
    layer = case.made()
    require.that(tuple(layer.in_shape) == case.shape, f"in_shape is {layer.in_shape}; it was made with {case.shape}")
    shape = layer.latent_shape
    fits = isinstance(shape, tuple) and len(shape) > 0 and all(isinstance(size, int) and size > 0 for size in shape)
    require.that(fits, f"latent_shape is {shape!r}")


def _moments(case: _Case) -> None:
    """Both directions give distributions over the right events: mean, variance of at least 0 and draws, (B, *event), all finite."""
    for training in (True, False):
        layer = case.made(training=training)
        for what, (way, start, shape) in case.ways(layer).items():
            for scale in (1, 0, 100):
                p = way(scale * start)
                require.that(
                    bool((p.variance >= 0).all()),
                    f"{what}(...).variance is not at least 0 everywhere, but {p.variance.min().item():.4g}",
                )
                for name, tensor in {"mean": p.mean, "variance": p.variance, "rsample()": p.rsample()}.items():
                    where = f"{what}(...).{name} of inputs at scale {scale}, {'training' if training else 'evaluation'} mode,"
                    require.form(where, tensor, (BATCH, *shape))


def _draws(case: _Case) -> None:
    """Draws have the mean and variance that the distribution says, are fresh each time and differentiable."""
    layer, count = case.made(), 400
    for what, (way, start, _) in case.ways(layer, 4).items():
        p = way(start)
        draws = torch.stack([p.rsample() for _ in range(count)]).double()
        mean, variance = p.mean.double(), p.variance.double()
        off = ((draws.mean(0) - mean).abs() - 1e-6 * (1 + mean.abs())) / (variance / count + 1e-12).sqrt()
        require.that(
            off.max().item() < 6, f"the mean of {count} draws of {what}(...) is off by {off.max().item():.3g} standard errors"
        )
        noisy = variance > 1e-6 * (1 + mean.square())
        ratio = draws.var(0)[noisy] / variance[noisy]
        if len(ratio):
            low, high = ratio.min().item(), ratio.max().item()
            require.that(low > 0.5 and high < 2, f"draws of {what}(...) have {low:.3g} to {high:.3g} times the variance it says")
        require.that(p.rsample().requires_grad, f"{what}(...).rsample() is detached from the layer")


def _gradients(case: _Case) -> None:
    """Gradients reach every parameter and the input, and stay finite, for black images (zeros) too."""
    layer = case.made(training=True)
    for scale in (1, 0):
        x = (scale * case.events(BATCH)).requires_grad_()
        code = layer.encode(x).rsample()
        p = layer.decode(code)
        penalty = code.square().sum() + layer.encode(x).variance.log1p().sum()
        value = p.mean.square().sum() + p.mean.sum() + p.variance.sum() + penalty
        names = [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
        reached = require.gradients(value, x, *(parameter for parameter in layer.parameters() if parameter.requires_grad))
        for name, gradient in zip(["the input", *names], reached, strict=True):
            require.finite(f"the gradient of {name} for data at scale {scale}", gradient)
            require.that(scale == 0 or bool(gradient is not None and gradient.any()), f"{name} has no effect: its gradient is 0")


def _rows(case: _Case) -> None:
    """In evaluation mode each row is on its own: a batch of one works and agrees with a larger one, twice the same."""
    layer = case.made()
    for what, (way, start, _) in case.ways(layer).items():
        p, again, one = way(start), way(start), way(start[3:4])
        require.equal(f"{what}(...).mean twice", p.mean, again.mean)
        for name in ("mean", "variance"):
            alone, among = getattr(one, name), getattr(p, name)[3:4]
            require.close(f"{what}(...).{name} of a row alone against among {BATCH}", alone, among, rtol=1e-3, atol=1e-4)


def _one(case: _Case) -> None:
    """In training mode a batch of one works, or raises a ValueError that says why."""
    layer = case.made(training=True)
    for what, (way, start, _) in case.ways(layer, 1).items():
        try:
            require.finite(f"{what}(...).mean", way(start).mean)
        except ValueError as error:
            require.that("batch" in str(error) and "Expected more than 1" not in str(error), f"{what} of one says: {error}")


def _range(case: _Case) -> None:
    """Its output_range, where it has one, holds the decoder's mean, whatever the code."""
    layer = case.made()
    if layer.output_range is None:
        return
    low, high = layer.output_range
    mean = layer.decode(100 * case.events(BATCH, shape=layer.latent_shape)).mean
    require.that(low < high, f"output_range is {layer.output_range}")
    inside = bool((mean >= low).all() and (mean <= high).all())
    require.that(inside, f"means from {mean.min().item():.4g} to {mean.max().item():.4g} leave output_range {layer.output_range}")


def _precision(case: _Case) -> None:
    """Moments are float32 under bfloat16 autocast, and follow the module to float64."""
    for dtype in (torch.float32, torch.float64):
        layer = case.made().to(dtype)
        for what, (way, start, _) in case.ways(layer).items():
            with torch.autocast(start.device.type, dtype=torch.bfloat16, enabled=dtype == torch.float32):
                p = way(start.to(dtype))
                draw = p.rsample()
            for name, tensor in {"mean": p.mean, "variance": p.variance, "rsample()": draw}.items():
                require.that(tensor.dtype == dtype, f"{what}(...).{name} has dtype {tensor.dtype}; it should be {dtype}")


def _inputs(case: _Case) -> None:
    """How the input lies in memory does not matter, and it is not written to."""
    layer = case.made()
    for what, (way, start, _) in case.ways(layer).items():
        require.neutral(f"{what}(...).mean", lambda start, way=way: way(start).mean, start, rtol=1e-3, atol=1e-4)


def _seed(case: _Case) -> None:
    """One seed, one layer and one draw, to the bit."""
    first, second = case.made(), case.made()
    for (name, value), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        require.equal(f"{name} of two layers made under one seed", value, other)
    x = case.events(BATCH)
    draws = []
    for layer in (first, second):
        with seeded(1):
            draws.append(layer.decode(layer.encode(x).rsample()).rsample())
    require.equal("draws of two layers under one seed", *draws)


def _state(case: _Case) -> None:
    """Its state is tensors alone, saved without pickle, and makes another layer of the class its equal."""
    layer, other = case.made(training=True), case.made(seed=1)
    layer.decode(layer.encode(case.events(BATCH)).rsample())  # so that running statistics are no longer the initial ones
    x, z = case.events(BATCH), case.events(BATCH, shape=layer.latent_shape)

    def moments(layer: LatentLayer) -> Tensor:
        q, p = layer.encode(x), layer.decode(z)
        return torch.cat([moment.flatten() for moment in (q.mean, q.variance, p.mean, p.variance)])

    require.round_trip(layer.eval(), other, moments)


LAWS = (_shapes, _moments, _draws, _gradients, _rows, _one, _range, _precision, _inputs, _seed, _state)
