"""Two zero examples through a component, to see that what it gives has the shapes that it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from owae.distributions import Distribution
from owae.interfaces import LatentLayer, Prior, Shape
from owae.model.inference import evaluation_mode

_ROWS = 2


@torch.no_grad()
def layer_faults(layer: LatentLayer, in_shape: Shape) -> Iterator[str]:
    """What a layer gets wrong about its shapes on events of shape `in_shape`, if anything.

    Evaluation mode, so no statistics change; torch's generators and the layer's mode are left as they were.
    """
    cls = type(layer).__name__
    shapes = {name: getattr(layer, name, None) for name in ("in_shape", "latent_shape")}
    for name, shape in shapes.items():
        if not _is_shape(shape):
            yield f"{cls}.{name} is {shape!r}; the constructor sets it to a tuple of positive whole numbers"
            return
    if tuple(layer.in_shape) != tuple(in_shape):
        yield f"{cls}.in_shape is {tuple(layer.in_shape)}, but it was made for events of shape {tuple(in_shape)}"
        return
    with torch.random.fork_rng(devices=[]), evaluation_mode(layer):
        yield from _conditional_faults(f"{cls}.encode", layer.encode, layer.in_shape, layer.latent_shape, "latent_shape")
        yield from _conditional_faults(f"{cls}.decode", layer.decode, layer.latent_shape, layer.in_shape, "in_shape")


@torch.no_grad()
def prior_faults(prior: Prior, shape: Shape) -> Iterator[str]:
    """What a prior on events of a shape gets wrong about it, if anything; torch's generators are left as they were."""
    cls = type(prior).__name__
    found = tuple(getattr(prior, "shape", ()))
    if found != tuple(shape):
        yield f"{cls}.shape is {found}, but it was made for {tuple(shape)}: hand `shape` on to super().__init__"
        return
    with torch.random.fork_rng(devices=[]):
        try:
            draws = prior.sample(_ROWS)
        except Exception as error:  # whatever it is, it is about this component
            yield f"{cls}.sample({_ROWS}) fails: {type(error).__name__}: {error}"
            return
    if tuple(draws.shape) != (_ROWS, *shape):
        yield f"{cls}.sample({_ROWS}) has shape {tuple(draws.shape)}; it should be {(_ROWS, *shape)}"


def _conditional_faults(
    name: str, conditional: Callable[[Tensor], Distribution], given: Shape, event: Shape, promised: str
) -> Iterator[str]:
    zeros = torch.zeros(_ROWS, *given)
    try:
        distribution = conditional(zeros)
        if not isinstance(distribution, Distribution):
            yield f"{name} returns {type(distribution).__name__}; it should be a distribution, with mean, variance and rsample()"
            return
        moments = {"mean": distribution.mean, "variance": distribution.variance, "rsample()": distribution.rsample()}
    except Exception as error:  # whatever it is, it is about this component
        yield f"{name} fails on zeros of shape {tuple(zeros.shape)}: {type(error).__name__}: {error}"
        return
    for moment, value in moments.items():
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if found != (_ROWS, *event):
            yield f"the {moment} of {name} has shape {found}; by {promised} it should be {(_ROWS, *event)}"
            return


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple | list | torch.Size) and all(type(size) is int and size > 0 for size in shape)
