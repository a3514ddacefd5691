"""A source whose examples are changed at random whenever a training reads them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from owae.data.sources import examples, original, reads_singly
from owae.errors import ConfigError, DataError
from owae.interfaces import DataSource
from owae.torch_state import generators_kept
from owae_augment.transforms import applied, changes_nothing, checked, made

logger = logging.getLogger(__name__)

_LOOKED_AT = 32  # examples that are held to having the levels that `Dequantise` was told


class Augmented(DataSource):
    """A source with transforms, which are applied on the device to what a training has read, example by example.

    Whoever else reads it gets the examples as they are.

    Args:
        source: Where the examples come from.
        transforms: Tables or names, as in [augment].

    Raises:
        ConfigError: A transform is unknown, or does not fit the examples.
    """

    name = "augmented"

    def __init__(self, source: DataSource, transforms: Sequence[Any], /) -> None:
        self.source = source
        self.shape, self.value_range = tuple(source.shape), source.value_range
        self.labels, self.class_names = source.labels, source.class_names
        try:
            self._specs = checked(transforms)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._transforms = made(self._specs, self.shape)
        for spec, transform in zip(self._specs, self._transforms, strict=True):
            if changes_nothing(transform, self.shape):
                logger.warning(
                    "[augment] %s changes nothing of examples of shape %s, with %s",
                    *(spec["name"], self.shape, {key: value for key, value in spec.items() if key != "name"} or "no options"),
                )
            if spec["name"] == "Dequantise":
                _check_levels(source, spec)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[index]

    def augment(self, x: Tensor, indices: Tensor, *key: int) -> Tensor:
        own, rows = original(self.source, indices)
        x = own.augment(x, rows, *key)
        low, high = self.value_range
        unit = (x - low) / (high - low)
        result = torch.empty_like(unit, memory_format=torch.contiguous_format)
        seeded = [torch.default_generator.manual_seed]
        elsewhere = nullcontext()
        if x.device.type != "cpu":
            elsewhere = torch.random.fork_rng(devices=[x.device], device_type=x.device.type)
            seeded.append(torch.get_device_module(x.device).manual_seed)
        with torch.no_grad(), generators_kept(), elsewhere:
            for row, seed in enumerate(seeds(indices, *key)):
                for manual_seed in seeded:
                    manual_seed(seed)
                example = unit[row]
                for transform in self._transforms:
                    example = applied(transform, example)
                if example.shape != self.shape:
                    raise DataError(f"the transforms made {tuple(example.shape)} of example {indices[row]}, of shape {self.shape}")
                result[row] = example
        return result * (high - low) + low

    def fingerprint(self) -> str:
        return self.source.fingerprint()


class _AtOnce(Augmented):
    """The same of a source that reads many examples at once."""

    name = "augmented-at-once"

    def batch(self, indices: Tensor) -> Tensor:
        return self.source.batch(indices)


def augmented(source: DataSource, transforms: Sequence[Any]) -> Augmented:
    """Returns a source whose examples are changed in training batches, by transforms as [augment] has them; errors as for `Augmented`."""
    # Which of the two says how the examples themselves are read, and so how a source that draws them is seeded.
    return (Augmented if reads_singly(source) else _AtOnce)(source, transforms)


def seeds(indices: Tensor, *key: int) -> list[int]:
    """Mixes a seed of 32 bits for each index out of it and the key.

    The mixing is SplitMix64's (Steele, Lea and Flood, 2014), from a start that the key gives.
    """
    (start,) = np.random.SeedSequence([*key, 0xA06]).generate_state(1, np.uint64)
    with np.errstate(over="ignore"):
        z = start + (indices.numpy().astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(32)).tolist()


def _check_levels(source: DataSource, spec: Mapping[str, Any]) -> None:
    """Refuses examples that are not on the grid of levels that `Dequantise` fills in."""
    levels = spec.get("levels", 256)
    rows = torch.linspace(0, len(source) - 1, min(_LOOKED_AT, len(source))).round().long().unique()
    low, high = source.value_range
    at = (examples(source, rows) - low) / (high - low) * (levels - 1)
    if (at - at.round()).abs().max() > 1e-3 * max(1, levels / 256):
        raise ConfigError(
            f"Dequantise: the examples are not at {levels} levels of {list(source.value_range)}; bytes have 256, and levels = N says "
            "another number"
        )
