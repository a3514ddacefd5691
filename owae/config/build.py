"""Makes a stack and its data from a config, following shapes upward from the data.

Whatever is refused on the way is told by its place in the config: a constructor's options, shapes that do not fit, a decoder that
cannot reach the data's range. Two zero examples go through every level before anything is trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import torch

from owae.config.config import Config
from owae.config.dry_run import try_layer, try_prior
from owae.config.schema import Spec
from owae.data.sources import check_declared
from owae.errors import ConfigError, DataError, Problem
from owae.interfaces import DataSource, LatentLayer, Phase, Shape
from owae.model.stack import Level, Stack
from owae.registry.problems import join
from owae.registry.registry import Registry
from owae.training.options import Options

Range = tuple[float, float]

# What a component raises for options that it cannot take: torch says RuntimeError of a negative or a giant size.
_REFUSALS = (ConfigError, ValueError, TypeError, ArithmeticError, RuntimeError, ImportError)


@dataclass(frozen=True)
class Built:
    """What a config describes, made.

    Attributes:
        stack: The model, its parameters drawn from the config's seed.
        train: The examples to train on.
        test: The examples to measure on.
        phases: The further phases of training, by name, in the order in which they are trained.
        beginnings: What has changed the stack and the examples before the first training, by name.
    """

    stack: Stack
    train: DataSource
    test: DataSource
    phases: dict[str, Phase]
    beginnings: dict[str, Phase]


def build(config: Config, registry: Registry) -> Built:
    """Makes the data and the model. Seeds torch's generators with `train.seed`; parameters do not depend on draws of the data.

    Raises:
        ConfigError: A component refuses its options, or they do not fit together.
        DataError: The data are missing, empty, or of two kinds.
    """
    torch.manual_seed(config.train.seed)
    train, test = (build_source(config, registry, split) for split in ("train", "test"))
    if (tuple(train.shape), train.value_range) != (tuple(test.shape), test.value_range):
        raise DataError(
            f"data '{config.data.kind}': the train split holds {tuple(train.shape)} in {train.value_range}, "
            f"the test split {tuple(test.shape)} in {test.value_range}; they must be alike"
        )
    torch.manual_seed(config.train.seed)
    stack = _stack(config, registry, tuple(train.shape), train.value_range)
    beginnings = {}
    for name, spec in config.beginnings.items():
        with _at(name, config):
            phase = beginnings[name] = spec.create(registry)
            stack, train = phase.extend(stack), phase.examples(train)
    return Built(stack, train, test, build_phases(config, registry, stack), beginnings)


def build_stack(config: Config, registry: Registry, shape: Shape, value_range: Range, phases: Iterable[str] = ()) -> Stack:
    """Makes the model alone, as these further phases of the config, in their order, leave it; torch's generators are put back.

    Raises:
        ConfigError: As for `build`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.train.seed)
        stack = _stack(config, registry, shape, value_range)
        for name, spec in [*config.beginnings.items(), *((name, config.phases[name]) for name in phases)]:
            with _at(name, config):
                stack = spec.create(registry).extend(stack)
        return stack


def build_phases(config: Config, registry: Registry, stack: Stack) -> dict[str, Phase]:
    """Makes the further phases of training and tries each on a copy of the stack; torch's generators are put back.

    Raises:
        ConfigError: A phase refuses its options, or they do not fit the stack.
    """
    phases = {}
    with torch.random.fork_rng(devices=[]):
        for name, spec in config.phases.items():
            with _at(name, config):
                phase = phases[name] = spec.create(registry)
                phase_options(phase, config.train)
                stack = phase.extend(copy.deepcopy(stack))
    return phases


def phase_options(phase: Phase, first: Options) -> Options:
    """Returns the options of a phase's training: those of the first training, but for the keys that the phase sets itself."""
    return Options.checked(**{**first.model_dump(), **phase.options()})


@contextmanager
def _at(place: str, config: Config) -> Iterator[None]:
    """Runs the block; what it refuses becomes a `ConfigError` about one place of the config."""
    try:
        yield
    except _REFUSALS as error:
        plain = isinstance(error, ConfigError | ValueError)
        problem = Problem(place, str(error) if plain else f"{type(error).__name__}: {error}")
        raise ConfigError([problem], config.source) from error


@contextmanager
def _collected(refused: list[ConfigError], place: str, config: Config) -> Iterator[None]:
    """Runs the block as `_at` does, but adds what it refuses to a list, so that all is told at once."""
    try:
        with _at(place, config):
            yield
    except ConfigError as error:
        refused.append(error)


def build_source(config: Config, registry: Registry, split: str) -> DataSource:
    """Makes the data of one split; errors as for `build`."""
    name = f"data '{config.data.kind}'"
    try:
        with _at("data", config):
            source = config.data.create(registry, split)
    except (OSError, DataError) as error:
        raise DataError(f"{name}: {error}") from error
    check_declared(name, source)
    if len(source) == 0:
        raise DataError(f"{name}: the {split} split is empty")
    return source


def _stack(config: Config, registry: Registry, shape: Shape, value_range: Range) -> Stack:
    refused: list[ConfigError] = []
    layers: list[LatentLayer] = []
    for i, level in enumerate(config.levels):
        with _collected(refused, join("levels", i, "layer"), config):
            layer = level.layer.create(registry, shape)
            try_layer(layer, shape)
            layers.append(layer)
            shape = tuple(layer.latent_shape)
        if refused:
            break  # the levels above have no shape
    terms: dict[str, list[Any]] = {"cost": [], "regulariser": []}
    for name, made in terms.items():
        for i, level in enumerate(config.levels):
            own = getattr(level, name)
            spec = own or getattr(config, name)
            with _collected(refused, join("levels", i, name) if own else name, config):
                made.append(spec and spec.create(registry))
    with _collected(refused, "divergence", config):
        divergence = config.divergence.create(registry)
    if layers:
        with _collected(refused, join("levels", 0, "layer"), config):
            _check_range(config, registry, layers[0], value_range)
    if refused:
        told = dict.fromkeys(problem for error in refused for problem in error.problems)
        raise ConfigError(list(told), config.source) from refused[-1].__cause__
    with _at("prior", config):
        prior = config.prior.create(registry, shape)
        try_prior(prior, shape)
    with _at("weights", config):  # all else that a stack could refuse has been seen
        matched, weights = config.matched_level, config.weights
        dims = [math.prod(layer.latent_shape) for layer in layers[:matched]]
        penalty_weights = [*weights.penalty_weights(dims), *[0.0] * (len(layers) - matched)]
        parts = zip(layers, terms["cost"], terms["regulariser"], penalty_weights, config.levels, strict=True)
        levels = [
            Level(layer, cost=cost, regulariser=term, penalty_weight=weight, space=said.space, target=said.target, rows=said.rows)
            for layer, cost, term, weight, said in parts
        ]
        return Stack(levels, divergence=divergence, weights=weights.products(dims), prior=prior, matched_level=matched)


def _check_range(config: Config, registry: Registry, layer: LatentLayer, value_range: Range) -> None:
    """Raises a `ConfigError` if the bottom decoder's mean has other bounds than the data: it says what would fit."""
    if layer.output_range is None or _same(layer.output_range, value_range):
        return
    fits = [f"{option} in this layer" for option in _fitting(config.levels[0].layer, registry, layer.in_shape, value_range)]
    if "value_range" in type(config.data.options).model_fields:
        fits.append(f"value_range = {list(layer.output_range)} in [data]")
    raise ConfigError(
        f"the decoder's mean lies in {list(layer.output_range)}, the examples of data '{config.data.kind}' in {list(value_range)}"
        + (f"; what fits: {', or '.join(fits)}" if fits else "")
    )


def _fitting(spec: Spec, registry: Registry, shape: Shape, value_range: Range) -> list[str]:
    """Returns the choices of an option with which a layer's output range is that of the data, or else unbounded."""
    fields = type(spec.options).model_fields
    choices = {name: get_args(field.annotation) for name, field in fields.items() if get_origin(field.annotation) is Literal}
    for name in sorted(choices, key=lambda name: "output" not in name):  # the likeliest first, for each takes a layer to see
        bounded, unbounded = [], []
        for choice in choices[name]:
            changed = replace(spec, options=spec.options.model_copy(update={name: choice}))
            with suppress(*_REFUSALS), torch.device("meta"):  # nothing is allocated or drawn
                found = changed.create(registry, shape).output_range
                if found is None or _same(found, value_range):
                    (unbounded if found is None else bounded).append(f'{name} = "{choice}"')
        if bounded or unbounded:
            return bounded + unbounded
    return []


def _same(one: Range, other: Range) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(one, other, strict=True))
