"""The laws of `DataSource`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from owae.interfaces import DataSource
from owae.registry.options import options_model
from owae.testing import require
from owae.testing.laws import Report, run
from owae.testing.require import seeded

LOOKED_AT = 256  # examples of each split


@dataclass(frozen=True)
class _Case:
    make: Callable[[str], DataSource]
    shared: float
    declared: tuple[int, ...] | None

    def splits(self) -> dict[str, DataSource]:
        return {split: self.make(split) for split in ("train", "test")}


def check_source(
    source: Callable[..., DataSource], /, *, shared: float = 0.0, report: Report | None = None, **options: Any
) -> None:
    """Checks a data source (its class, or a function that makes an instance as that would); see `owae.testing`.

    Of a large one, a few hundred examples spread over each split are read.

    Args:
        shared: The share of test examples that may be equal to a training example, for data that hold the same picture twice.

    Raises:
        AssertionError: It breaks a law.
    """
    make = partial(source, **options)
    declared = None
    if isinstance(source, type) and issubclass(source, DataSource):
        declared = source.declared_shape(**dict(options_model(source).model_construct(**options)))
    run(make("train"), DataSource, LAWS, _Case(make, shared, declared), report)


def _spread(source: DataSource) -> Tensor:
    return torch.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).round().long().unique()


def _sizes(case: _Case) -> None:
    """Both splits hold examples."""
    for split, source in case.splits().items():
        require.that(len(source) > 0, f"the {split} split is empty")


def _examples(case: _Case) -> None:
    """Every example has the source's shape, is float32 or uint8, finite and within value_range; both splits agree on these."""
    splits = case.splits()
    train, test = splits["train"], splits["test"]
    require.that(tuple(train.shape) == tuple(test.shape), f"train has shape {train.shape}, test {test.shape}")
    require.that(train.value_range == test.value_range, f"train has value_range {train.value_range}, test {test.value_range}")
    low, high = train.value_range
    require.that(low < high, f"value_range is {train.value_range}")
    for split, source in splits.items():
        for index in _spread(source).tolist():
            example = source[index]
            where = f"{split} example {index}"
            require.that(isinstance(example, Tensor), f"{where} is a {type(example).__name__}, not a Tensor")
            require.form(where, example, source.shape)
            require.that(example.dtype in (torch.float32, torch.uint8), f"{where} has dtype {example.dtype}, not float32 or uint8")
            if example.dtype == torch.float32:
                inside = bool((example >= low).all() and (example <= high).all())
                limits = f"{example.min().item():.4g} to {example.max().item():.4g}"
                require.that(inside, f"{where} holds values from {limits}, outside value_range {source.value_range}")


def _declared(case: _Case) -> None:
    """A shape that the options declare is that of the examples."""
    shape = tuple(case.make("train").shape)
    require.that(case.declared is None or tuple(case.declared) == shape, f"options declare {case.declared}, examples have {shape}")


def _batches(case: _Case) -> None:
    """`batch` gives the examples one by one, for indices in any order, repeated or alone."""
    for split, source in case.splits().items():
        indices = _spread(source).flip(0)[:32]
        for chosen in (indices, indices[:1], indices[[0, 0]]):
            batch = source.batch(chosen)
            single = torch.stack([source[index] for index in chosen.tolist()])
            require.form(f"a {split} batch of {len(chosen)}", batch, single.shape, single.dtype)
            require.equal(f"a {split} batch and the examples one by one", batch, single)


def _end(case: _Case) -> None:
    """Past the end there is an IndexError, so that a loop over the source ends."""
    for split, source in case.splits().items():
        for index in (len(source), len(source) + 10):
            try:
                source[index]
            except IndexError:
                continue
            raise AssertionError(f"{split} example {index} of {len(source)} exists, or fails otherwise than by an IndexError")


def _labels(case: _Case) -> None:
    """Labels, where there are any, are one integer an example."""
    for split, source in case.splits().items():
        labels = source.labels
        if labels is not None:
            require.that(isinstance(labels, Tensor), f"{split} labels are a {type(labels).__name__}, not a Tensor")
            require.that(
                tuple(labels.shape) == (len(source),), f"{split} labels have shape {tuple(labels.shape)} for {len(source)} examples"
            )
            require.that(not labels.is_floating_point(), f"{split} labels have dtype {labels.dtype}; classes are integers")
            require.that(
                bool((labels >= -1).all()), f"{split} labels go down to {labels.min()}; classes start at 0, and -1 stands for none"
            )
        names = source.class_names
        if names is not None:
            most = -1 if labels is None else int(labels.max())
            require.that(
                isinstance(names, tuple) and all(isinstance(name, str) for name in names), f"{split} class_names are {names!r}"
            )
            require.that(most < len(names), f"{split} labels go up to {most}, but there are names for {len(names)} classes")
    require.that(len({source.class_names for source in case.splits().values()}) == 1, "the splits call their classes differently")


def _determinism(case: _Case) -> None:
    """The same source, made again, holds the same examples, whatever the seed of the program, which it leaves alone."""
    for split in ("train", "test"):
        require.unseeded(f"making the {split} split, or reading of it,", lambda split=split: case.make(split)[0])
        with seeded(1):
            first = case.make(split)
        with seeded(2):
            second = case.make(split)
        require.that(len(first) == len(second), f"{split} had {len(first)} examples, then {len(second)}")
        indices = _spread(first)
        require.equal(f"{split} examples of two instances", first.batch(indices), second.batch(indices))
        require.that(first.fingerprint() == second.fingerprint(), f"{split} has another fingerprint each time")
        if first.labels is not None and second.labels is not None:
            require.equal(f"{split} labels of two instances", first.labels, second.labels)


def _disjoint(case: _Case) -> None:
    """No test example is a training example."""
    splits = case.splits()
    train, test = splits["train"], splits["test"]
    seen = {train[index].numpy().tobytes() for index in range(len(train))}
    found = [index for index in _spread(test).tolist() if test[index].numpy().tobytes() in seen]
    allowed = case.shared * len(_spread(test))
    require.that(
        len(found) <= allowed, f"{len(found)} of {len(_spread(test))} test examples, the first one number {found[:1]}, are in train"
    )


LAWS = (_sizes, _examples, _declared, _batches, _end, _labels, _determinism, _disjoint)
