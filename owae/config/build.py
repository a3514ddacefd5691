"""From a config to a stack and its data, following shapes upward from the data.

Everything that can go wrong on the way is told by its place in the config: a constructor that refuses its options, shapes that do
not fit, a decoder that cannot reach the data's range. Two zero examples go through every level before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import torch

from owae.config.config import Config
from owae.config.dry_run import layer_faults, prior_faults
from owae.config.schema import Spec
from owae.errors import ConfigError, DataError, Problem
from owae.interfaces import DataSource, LatentLayer, Shape
from owae.model.stack import Level, Stack
from owae.registry.options import join
from owae.registry.registry import Registry

Range = tuple[float, float]

# What a component raises for options that it cannot take: torch says RuntimeError of a negative or a giant size.
_REFUSALS = (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError)


@dataclass(frozen=True)
class Built:
    """What a config describes, made.

    Attributes:
        stack: The model, its parameters drawn from the config's seed.
        train: The examples to train on.
        test: The examples to measure on.
    """

    stack: Stack
    train: DataSource
    test: DataSource


def build(config: Config, registry: Registry) -> Built:
    """Make the data and the model. Seeds torch's generators with `train.seed`; parameters do not depend on draws of the data.

    Raises:
        ConfigError: A component refuses its options, or they do not fit together.
        DataError: The data are missing, empty, or of two kinds.
    """
    torch.manual_seed(config.train.seed)
    train, test = (_source(config, registry, split) for split in ("train", "test"))
    if (tuple(train.shape), train.value_range) != (tuple(test.shape), test.value_range):
        raise DataError(
            f"data '{config.data.kind}': the train split holds {tuple(train.shape)} in {train.value_range}, "
            f"the test split {tuple(test.shape)} in {test.value_range}; they must be alike"
        )
    torch.manual_seed(config.train.seed)
    return Built(_stack(config, registry, tuple(train.shape), train.value_range), train, test)


def build_stack(config: Config, registry: Registry, shape: Shape, value_range: Range) -> Stack:
    """Make the model alone, for examples of a shape and range; torch's generators are left as they were.

    Raises:
        ConfigError: As for `build`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.train.seed)
        return _stack(config, registry, shape, value_range)


class _Maker:
    """Makes components, and keeps what they refuse until it is asked for."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._source, self._registry = config.source, registry
        self._problems: list[Problem] = []
        self._cause: Exception | None = None

    def make(self, spec: Spec, place: str, *engine: Any) -> Any:
        """The component of a spec; None if it refuses."""
        with self.placed(place):
            return spec.create(self._registry, *engine)

    @contextmanager
    def placed(self, place: str) -> Iterator[None]:
        """A block whose refusals are about one place of the config."""
        try:
            yield
        except ConfigError as error:
            self._cause = error
            self.tell(place, *(str(problem) for problem in error.problems))
        except _REFUSALS as error:
            self._cause = error
            self.tell(place, str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")

    def tell(self, place: str, *faults: str) -> None:
        self._problems += [Problem(place, fault) for fault in faults]

    def settle(self) -> None:
        """Raise what was refused, if anything was."""
        if self._problems:
            raise ConfigError(list(dict.fromkeys(self._problems)), self._source) from self._cause


def _source(config: Config, registry: Registry, split: str) -> DataSource:
    maker, name = _Maker(config, registry), f"data '{config.data.kind}'"
    try:
        source = maker.make(config.data, "data", split)
    except OSError as error:
        raise DataError(f"{name}: {error}") from error
    maker.settle()
    shape, (low, high) = tuple(source.shape), source.value_range
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise DataError(f"{name}: its examples have shape {shape}; every size must be a positive whole number")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(f"{name}: its examples range from {low} to {high}; the lowest value must be below the highest")
    if len(source) == 0:
        raise DataError(f"{name}: the {split} split is empty")
    return source


def _stack(config: Config, registry: Registry, shape: Shape, value_range: Range) -> Stack:
    maker = _Maker(config, registry)
    layers = list(_layers(config, maker, shape))
    costs = [_own_or_common(config, maker, "cost", i) for i in range(len(config.levels))]
    regularisers = [_own_or_common(config, maker, "regulariser", i) for i in range(len(config.levels))]
    divergence = maker.make(config.divergence, "divergence")
    if layers:
        maker.tell(join("levels", 0, "layer"), *_range_faults(config, registry, layers[0], value_range))
    maker.settle()
    top = tuple(layers[-1].latent_shape)
    prior = maker.make(config.prior, "prior", top)
    maker.tell("prior", *(prior_faults(prior, top) if prior is not None else ()))
    maker.settle()

    dims = [math.prod(layer.latent_shape) for layer in layers[: config.matched_level]]
    unstacked = [0.0] * (len(layers) - len(dims))
    stack = None
    with maker.placed("weights"):
        parts = zip(layers, costs, regularisers, [*config.weights.penalties(dims), *unstacked], config.levels, strict=True)
        stack = Stack(
            [
                Level(layer, cost=cost, regulariser=regulariser, penalty_weight=penalty, **level.options.model_dump())
                for layer, cost, regulariser, penalty, level in parts
            ],
            divergence=divergence,
            weights=config.weights.products(dims),
            prior=prior,
            matched_level=config.matched_level,
        )
    maker.settle()
    assert stack is not None
    return stack


def _layers(config: Config, maker: _Maker, shape: Shape) -> Iterator[LatentLayer]:
    """The layers from the bottom, as far as they can be made."""
    for i, level in enumerate(config.levels):
        place = join("levels", i, "layer")
        layer = maker.make(level.layer, place, shape)
        faults = list(layer_faults(layer, shape)) if layer is not None else []
        maker.tell(place, *faults)
        if layer is None or faults:
            return
        yield layer
        shape = tuple(layer.latent_shape)


def _own_or_common(config: Config, maker: _Maker, name: str, i: int) -> Any:
    """A level's own cost or regulariser, else one of the top-level table's, else None."""
    own, common = getattr(config.levels[i], name), getattr(config, name)
    if own is not None:
        return maker.make(own, join("levels", i, name))
    return maker.make(common, name) if common is not None else None


def _range_faults(config: Config, registry: Registry, layer: LatentLayer, value_range: Range) -> Iterator[str]:
    """Whether the bottom decoder's mean is bounded as the data are, and what would make it so."""
    if layer.output_range is None or _same(layer.output_range, value_range):
        return
    fits = [f"{option} in this layer" for option in _fitting(config.levels[0].layer, registry, layer.in_shape, value_range)]
    if "value_range" in type(config.data.options).model_fields:
        fits.append(f"value_range = {list(layer.output_range)} in [data]")
    yield (
        f"the decoder's mean lies in {list(layer.output_range)}, the examples of data '{config.data.kind}' in {list(value_range)}"
        + (f"; what fits: {', or '.join(fits)}" if fits else "")
    )


def _fitting(spec: Spec, registry: Registry, shape: Shape, value_range: Range) -> list[str]:
    """The choices of an option with which a layer's output range is that of the data, or else unbounded."""
    choices = {
        name: get_args(field.annotation)
        for name, field in type(spec.options).model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    for name in sorted(choices, key=lambda name: "output" not in name):  # the likeliest first, for each takes a layer to see
        ranges = {choice: _range_with(spec, registry, shape, {name: choice}) for choice in choices[name]}
        fits = [choice for choice, found in ranges.items() if isinstance(found, tuple) and _same(found, value_range)]
        fits += [choice for choice, found in ranges.items() if found is None]
        if fits:
            return [f'{name} = "{choice}"' for choice in fits]
    return []


def _range_with(spec: Spec, registry: Registry, shape: Shape, changes: dict[str, Any]) -> Range | Literal["refused"] | None:
    """The output range of a layer whose options are changed."""
    changed = Spec(spec.interface, spec.kind, spec.options.model_copy(update=changes), {})
    try:
        with torch.device("meta"):  # nothing is allocated or drawn
            return changed.create(registry, shape).output_range
    except _REFUSALS:
        return "refused"


def _same(one: Range, other: Range) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(one, other, strict=True))
