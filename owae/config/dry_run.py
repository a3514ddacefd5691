"""Tries components on two zero examples, before anything is trained, to see that shapes are those that they promise.

`owae.testing` asks for far more, of a plugin's author; this is what a config can combine wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from owae.distributions import Distribution
from owae.errors import ConfigError
from owae.interfaces import LatentLayer, Prior, Shape
from owae.torch_state import evaluation_mode

_ROWS = 2


@torch.no_grad()
def try_layer(layer: LatentLayer, in_shape: Shape) -> None:
    """Raises a `ConfigError` if a layer is wrong about its shapes on events of shape `in_shape`; leaves statistics and generators alone."""
    cls = type(layer).__name__
    for name in ("in_shape", "latent_shape"):
        shape = getattr(layer, name, None)
        if not isinstance(shape, tuple | list) or not all(type(size) is int and size > 0 for size in shape):
            raise ConfigError(f"{cls}.{name} is {shape!r}; the constructor sets it to a tuple of positive whole numbers")
    if tuple(layer.in_shape) != tuple(in_shape):
        raise ConfigError(f"{cls}.in_shape is {tuple(layer.in_shape)}, but it was made for events of shape {tuple(in_shape)}")
    with torch.random.fork_rng(devices=[]), evaluation_mode(layer):
        for way, given, event, promised in (
            ("encode", layer.in_shape, layer.latent_shape, "latent_shape"),
            ("decode", layer.latent_shape, layer.in_shape, "in_shape"),
        ):
            zeros = torch.zeros(_ROWS, *given)
            with _blamed(f"{cls}.{way} fails on zeros of shape {tuple(zeros.shape)}"):
                p = getattr(layer, way)(zeros)
                moments = {"mean": p.mean, "variance": p.variance, "rsample()": p.rsample()} if isinstance(p, Distribution) else {}
            if not moments:
                raise ConfigError(
                    f"{cls}.{way} returns {type(p).__name__}; it should be a distribution, with mean, variance and rsample()"
                )
            for moment, value in moments.items():
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                if found != (_ROWS, *event):
                    raise ConfigError(
                        f"the {moment} of {cls}.{way} has shape {found}; by {promised} it should be {(_ROWS, *event)}"
                    )


@torch.no_grad()
def try_prior(prior: Prior, shape: Shape) -> None:
    """Raises a `ConfigError` if a prior is wrong about its events' shape; torch's generators are left as they were."""
    cls, found = type(prior).__name__, tuple(getattr(prior, "shape", ()))
    if found != tuple(shape):
        raise ConfigError(f"{cls}.shape is {found}, but it was made for {tuple(shape)}: hand `shape` on to super().__init__")
    with torch.random.fork_rng(devices=[]), _blamed(f"{cls}.sample({_ROWS}) fails"):
        draws = prior.sample(_ROWS)
    if tuple(draws.shape) != (_ROWS, *shape):
        raise ConfigError(f"{cls}.sample({_ROWS}) has shape {tuple(draws.shape)}; it should be {(_ROWS, *shape)}")


@contextmanager
def _blamed(what: str) -> Iterator[None]:
    """Runs the block; any error becomes a `ConfigError` about a component."""
    try:
        yield
    except Exception as error:  # whatever it is, it is about this component
        raise ConfigError(f"{what}: {type(error).__name__}: {error}") from error
