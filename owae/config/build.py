"""Makes a stack and its data from a config, following shapes upward from the data.

Whatever is refused on the way is told by its place in the config: a constructor's options, shapes that do not fit, a decoder that
cannot reach the data's range. Two zero examples go through every level before anything is trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
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
    beginnings, maker = {}, _Maker(config, registry)
    for name, spec in config.beginnings.items():
        with maker.at(name):
            phase = beginnings[name] = spec.create(registry)
            stack, train = phase.extend(stack), phase.examples(train)
        maker.raise_problems()
    return Built(stack, train, test, build_phases(config, registry, stack), beginnings)


def build_stack(config: Config, registry: Registry, shape: Shape, value_range: Range, phases: Iterable[str] = ()) -> Stack:
    """Makes the model alone, as these further phases of the config, in their order, leave it; torch's generators are put back.

    Raises:
        ConfigError: As for `build`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.train.seed)
        stack = _stack(config, registry, shape, value_range)
        maker = _Maker(config, registry)
        for name, spec in [*config.beginnings.items(), *((name, config.phases[name]) for name in phases)]:
            with maker.at(name):
                stack = spec.create(registry).extend(stack)
            maker.raise_problems()
        return stack


def build_phases(config: Config, registry: Registry, stack: Stack) -> dict[str, Phase]:
    """Makes the further phases of training and tries each on a copy of the stack; torch's generators are put back.

    Raises:
        ConfigError: A phase refuses its options, or they do not fit the stack.
    """
    maker, phases = _Maker(config, registry), {}
    with torch.random.fork_rng(devices=[]):
        for name, spec in config.phases.items():
            with maker.at(name):
                phase = phases[name] = spec.create(registry)
                phase_options(phase, config.train)
                stack = phase.extend(copy.deepcopy(stack))
            maker.raise_problems()
    return phases


def phase_options(phase: Phase, first: Options) -> Options:
    """Returns the options of a phase's training: those of the first training, but for the keys that the phase sets itself."""
    return Options.checked(**{**first.model_dump(), **phase.options()})


class _Maker:
    """Makes components, and collects what they refuse, by place, until it is all raised at once."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.config, self.registry = config, registry
        self._problems: list[Problem] = []
        self._cause: Exception | None = None

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Runs the block; what it refuses becomes a problem of one place of the config."""
        try:
            yield
        except _REFUSALS as error:
            self._cause = error
            plain = isinstance(error, ConfigError | ValueError)
            self._problems.append(Problem(place, str(error) if plain else f"{type(error).__name__}: {error}"))

    def make(self, spec: Spec | None, place: str, *engine: Any, trial: Callable[[Any, Any], None] | None = None) -> Any:
        """Makes the component of a spec, if it passes a trial with the last of the engine's arguments; None if it refuses."""
        with self.at(place):
            component = None if spec is None else spec.create(self.registry, *engine)
            if trial is not None:
                trial(component, engine[-1])
            return component

    def error(self) -> ConfigError:
        """Returns everything that was refused, as one error."""
        error = ConfigError(list(dict.fromkeys(self._problems)), self.config.source)
        error.__cause__ = self._cause
        return error

    def raise_problems(self) -> None:
        """Raises what was refused, if anything was."""
        if self._problems:
            raise self.error()


def build_source(config: Config, registry: Registry, split: str) -> DataSource:
    """Makes the data of one split; errors as for `build`."""
    maker, name = _Maker(config, registry), f"data '{config.data.kind}'"
    try:
        source = maker.make(config.data, "data", split)
    except (OSError, DataError) as error:
        raise DataError(f"{name}: {error}") from error
    maker.raise_problems()
    check_declared(name, source)
    if len(source) == 0:
        raise DataError(f"{name}: the {split} split is empty")
    return source


def _stack(config: Config, registry: Registry, shape: Shape, value_range: Range) -> Stack:
    maker = _Maker(config, registry)
    layers = list(_layers(maker, shape))
    costs, regularisers = (
        [
            maker.make(own, join("levels", i, name)) if (own := getattr(level, name)) else maker.make(getattr(config, name), name)
            for i, level in enumerate(config.levels)
        ]
        for name in ("cost", "regulariser")
    )
    divergence = maker.make(config.divergence, "divergence")
    if layers:
        with maker.at(join("levels", 0, "layer")):
            _check_range(config, registry, layers[0], value_range)
    maker.raise_problems()
    prior = maker.make(config.prior, "prior", tuple(layers[-1].latent_shape), trial=try_prior)
    maker.raise_problems()
    with maker.at("weights"):  # all else that a stack could refuse has been seen
        matched, weights = config.matched_level, config.weights
        dims = [math.prod(layer.latent_shape) for layer in layers[:matched]]
        penalty_weights = [*weights.penalty_weights(dims), *[0.0] * (len(layers) - matched)]
        parts = zip(layers, costs, regularisers, penalty_weights, config.levels, strict=True)
        levels = [
            Level(layer, cost=cost, regulariser=term, penalty_weight=weight, space=said.space, target=said.target, rows=said.rows)
            for layer, cost, term, weight, said in parts
        ]
        return Stack(levels, divergence=divergence, weights=weights.products(dims), prior=prior, matched_level=matched)
    raise maker.error()


def _layers(maker: _Maker, shape: Shape) -> Iterator[LatentLayer]:
    """Makes the layers from the bottom, as far as they can be made."""
    for i, level in enumerate(maker.config.levels):
        layer = maker.make(level.layer, join("levels", i, "layer"), shape, trial=try_layer)
        if layer is None:
            return
        yield layer
        shape = tuple(layer.latent_shape)


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
