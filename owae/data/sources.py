"""Makes sources from a tensor, from a part of another source and from held-out examples, and reads examples as floats."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from owae.errors import DataError
from owae.interfaces import DataSource, Shape
from owae.numerics import check_events


class TensorSource(DataSource):
    """Holds examples in one tensor, (N, *shape): float, or uint8 meaning 0…255 mapped onto `value_range`."""

    name = "tensor"

    def __init__(self, examples: Tensor, labels: Tensor | None = None, value_range: tuple[float, float] = (0.0, 1.0), /) -> None:
        if examples.ndim < 2 or not len(examples):
            raise DataError(f"found a tensor of shape {tuple(examples.shape)}; examples are (N, *shape) with N at least 1")
        if examples.dtype != torch.uint8 and not examples.is_floating_point():
            raise DataError(f"found examples of dtype {examples.dtype}; float or uint8 would work")
        if labels is not None and labels.shape != examples.shape[:1]:
            raise DataError(
                f"found labels of shape {tuple(labels.shape)} for {len(examples)} examples; ({len(examples)},) would work"
            )
        self.examples = examples
        self.labels = labels
        self.value_range = value_range
        self.shape = tuple(examples.shape[1:])

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Tensor:
        return self.examples[index]

    def batch(self, indices: Tensor) -> Tensor:
        # Rows by `index_select` are copied whole; indexing with a tensor takes them apart, at fifteen times the cost.
        return self.examples.index_select(0, indices.to(self.examples.device))


def as_source(data: object, shape: Shape | None = None, name: str = "the data") -> DataSource:
    """Returns the data themselves if they are a source, and a tensor, array or sequence (N, *shape) as one.

    Args:
        data: Any of those; float64 becomes float32.
        shape: The shape that examples must have, if that is known.
        name: What messages call the data.

    Raises:
        DataError: They are none of those, or their examples have another shape; the message says what would work.
    """
    source = data if isinstance(data, DataSource) else TensorSource(_as_tensor(data, name))
    if shape is not None:
        try:
            check_events(name, source.shape, shape)
        except ValueError as error:
            raise DataError(str(error)) from error
    return source


def _as_tensor(data: object, name: str) -> Tensor:
    if not isinstance(data, Tensor | np.ndarray | list | tuple):
        raise DataError(f"{name}: found a {type(data).__name__}; a tensor, an array, a sequence of them or a DataSource would work")
    try:
        if isinstance(data, list | tuple) and data and isinstance(data[0], Tensor):
            tensor = torch.stack(list(data))
        else:
            tensor = torch.as_tensor(np.ascontiguousarray(data)) if not isinstance(data, Tensor) else data
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} cannot be read as one array (N, *shape): {error}") from error
    return tensor.float() if tensor.dtype == torch.float64 and not isinstance(data, Tensor) else tensor


def examples(source: DataSource, indices: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
    """Reads examples of a source as floats on a device, (B, *shape), bytes mapped onto its value range; all of them unless indexed."""
    batch = source.batch(torch.arange(len(source)) if indices is None else indices)
    return as_floats(batch.to(device, non_blocking=True), source.value_range)


def as_floats(batch: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Converts a batch to floats: bytes 0…255 are mapped linearly onto the range, alike on every device."""
    if batch.dtype != torch.uint8:
        return batch if batch.is_floating_point() else batch.float()
    low, high = value_range
    scale = (high - low) / 255
    # One kernel where launches cost; on a CPU the conversion alone is vectorised, and two passes in the cache are faster than one.
    floats = batch.to(torch.float32).mul_(scale) if batch.device.type == "cpu" else torch.mul(batch, scale).float()
    return floats.add_(low) if low else floats


class Subset(DataSource):
    """Selects some of a source's examples, in the order of their indices."""

    name = "subset"

    def __init__(self, source: DataSource, indices: Tensor, /) -> None:
        self.source, self.indices = source, indices
        self.shape, self.value_range = tuple(source.shape), source.value_range
        self.labels = None if source.labels is None else source.labels[indices]
        self.class_names = source.class_names

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[int(self.indices[index])]

    def batch(self, indices: Tensor) -> Tensor:
        return self.source.batch(self.indices[indices])


def hold_out(source: DataSource, validation: float, seed: int) -> tuple[DataSource, DataSource]:
    """Splits a source into examples to train on and held-out ones, chosen by a seed, each in the source's order.

    Args:
        source: All of them.
        validation: How many to hold out, from 1 on; or which share of them, below 1.
        seed: Decides which.

    Raises:
        DataError: Fewer than two examples are left on one of the sides.
    """
    count = round(validation * len(source)) if validation < 1 else int(validation)
    if count < 2 or len(source) - count < 2:
        raise DataError(f"validation = {validation:g} holds {count} of {len(source)} examples out; each side needs at least 2")
    # A stream of its own: the order of the first epoch, drawn from the same seed, has nothing to do with it.
    order = np.random.default_rng([seed, 0x5417]).permutation(len(source))
    held, kept = (torch.from_numpy(np.sort(part)) for part in np.split(order, [count]))
    return Subset(source, kept), Subset(source, held)
