"""Makes sources of what a user has, and reads examples: as they are stored, or as floats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from owae.errors import DataError, InputError, OwaeError, PluginError
from owae.interfaces import DataSource, Shape
from owae.tensor_checks import Range, as_tensor, check_alike, check_events, check_type, check_values
from owae.torch_state import generators_kept, seed_generators

_LOOKED_AT = 256  # examples, spread over the data, whose values are looked at before training
SLACK = 0.01  # how far beyond its range an example may lie, as a share of the range


class TensorSource(DataSource):
    """Holds examples in one tensor, (N, *shape): float, or uint8 meaning 0…255 mapped onto `value_range`."""

    name = "tensor"

    def __init__(self, examples: Tensor, labels: Tensor | None = None, value_range: Range = (0.0, 1.0), /) -> None:
        if examples.ndim < 2 or not len(examples):
            raise InputError(f"found a tensor of shape {tuple(examples.shape)}; examples are (N, *shape) with N at least 1")
        if labels is not None and labels.shape != examples.shape[:1]:
            raise InputError(
                f"found labels of shape {tuple(labels.shape)} for {len(examples)} examples; ({len(examples)},) would work"
            )
        self.examples = check_type("examples", examples)
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


class DatasetSource(DataSource):
    """Reads a dataset of torch's: its items, or the first part of each where they are tuples, as (picture, class)."""

    name = "dataset"

    def __init__(self, dataset: Dataset, /) -> None:
        self.dataset = dataset
        with generators_kept():
            self.shape = tuple(self[0].shape)

    def __len__(self) -> int:
        return len(self.dataset)  # pyright: ignore[reportArgumentType] # as every dataset that is indexed

    def __getitem__(self, index: int) -> Tensor:
        item = self.dataset[index]
        return as_tensor(f"example {index}", item[0] if isinstance(item, tuple | list) else item)


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


def as_source(data: object, shape: Shape, name: str = "the data", bounds: Range | None = None) -> DataSource:
    """Returns the data themselves if they are a source; a tensor, array, sequence (N, *shape) or dataset of torch's as one.

    Args:
        data: Any of those.
        shape: The shape that examples must have.
        name: What messages call the data.
        bounds: What the bottom decoder can reach, or None for everything. Of a tensor some hundred examples are looked at; other
            sources are read when training starts.

    Raises:
        InputError: They are none of those, or their examples have another shape or scale; the message says what would work.
    """
    if isinstance(data, DataLoader | IterableDataset):
        raise InputError(
            f"{name}: found a {type(data).__name__}; training makes batches itself, in an order of its own: a dataset with "
            "indices (loader.dataset), a tensor or a DataSource would work"
        )
    if isinstance(data, Dataset):
        data = DatasetSource(data)
    source = data if isinstance(data, DataSource) else TensorSource(as_tensor(name, data))
    check_declared(name, source)
    check_events(name, source.shape, shape)
    if bounds is not None and isinstance(source, TensorSource):
        rows = torch.arange(0, len(source), max(1, len(source) // _LOOKED_AT))
        check_scale(name, examples(source, rows), bounds, rows)
    return source


def check_declared(name: str, source: DataSource) -> None:
    """Refuses a source whose length, shape, range or labels are none, with an `InputError` that says what its class should set."""
    cls = type(source).__name__
    try:
        count = len(source)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: len() of a {cls} fails ({error}); __len__ gives the number of examples") from error
    shape, bounds, labels = getattr(source, "shape", None), source.value_range, source.labels
    if not isinstance(shape, tuple | list) or not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InputError(f"{name}: its examples have shape {shape!r}; {cls} sets `shape` to positive whole numbers, as (1, 28, 28)")
    if not isinstance(bounds, tuple | list) or len(bounds) != 2 or not -math.inf < bounds[0] < bounds[1] < math.inf:
        raise InputError(f"{name}: its examples range over {bounds!r}; {cls} sets `value_range` to a lowest value and one above it")
    if labels is not None and not (isinstance(labels, Tensor) and labels.shape == (count,) and not labels.is_floating_point()):
        found = f"of shape {tuple(labels.shape)}, {labels.dtype}" if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
        raise InputError(f"{name}: its labels are {found}; {cls} sets `labels` to whole numbers, a tensor ({count},), or None")
    named, most = source.class_names, -1 if labels is None or not count else int(labels.max())
    if named is not None and len(named) <= most:
        raise InputError(
            f"{name}: its labels go up to {most}, and it names {len(named)} classes; {cls} sets `class_names` to a name for each"
        )


def check_scale(
    name: str, x: Tensor, bounds: Range, indices: Tensor, whose: str = "the range of the bottom decoder's mean"
) -> None:
    """Refuses examples beyond bounds, with an `InputError`; what is not finite is left to the step that meets it."""
    x = x.nan_to_num(bounds[0], bounds[0], bounds[0])
    check_values(name, x, bounds, slack=SLACK, indices=indices, reason=f", {whose},")


def original(source: DataSource, indices: Tensor) -> tuple[DataSource, Tensor]:
    """Returns the source that examples of a subset come from, and their indices there."""
    while isinstance(source, Subset):
        source, indices = source.source, source.indices[indices]
    return source, indices


def reads_singly(source: DataSource) -> bool:
    """Tells whether a source reads example by example."""
    return type(original(source, torch.arange(0))[0]).batch is DataSource.batch


def read(source: DataSource, indices: Tensor, *key: int) -> Tensor:
    """Reads examples as they are stored, (B, *shape), with torch's, numpy's and Python's generators seeded for what the source draws.

    The seed is the key and an example's index (the first one's, of a source with a `batch` of its own), so an example does not depend on
    who reads it, and with which others. The CPU's generators are then put back. `InputError` for another shape than the source promises.
    """
    source, indices = original(source, indices)
    if isinstance(source, TensorSource):
        return source.batch(indices)
    name = type(source).__name__
    with generators_kept(), reading(source):
        if not reads_singly(source):
            seed_generators(*key, int(indices[0]))
            batch = as_tensor(name, source.batch(indices))
            check_events(name, batch.shape, (len(indices), *source.shape))
            return batch
        rows = []
        for index in indices.tolist():
            seed_generators(*key, index)
            rows.append(as_tensor(f"{name}, example {index},", source[index]))
            check_events(f"{name}, example {index},", rows[-1].shape, source.shape)
    if len({row.dtype for row in rows}) > 1:
        check_alike(f"{name}, examples {indices.tolist()},", rows)
    return torch.stack(rows)


@contextmanager
def reading(source: DataSource) -> Iterator[None]:
    """Runs a read of examples below a source's length, which leaves the gradient mode as it was.

    An `InputError` says that the length is too large where that is the fault; a `PluginError` names a source that would end the program or
    a loop around it as if all were well. Other errors keep their kind, with a note of whose they are.
    """
    name = type(source).__name__
    try:
        with torch.no_grad():
            yield
    except IndexError as error:
        raise InputError(
            f"{name} says that it has {len(source)} examples, and cannot give one of them: IndexError: {error}; __len__ gives the "
            "number of examples, which are counted from 0"
        ) from error
    except (SystemExit, StopIteration) as error:
        raise PluginError(
            f"{name} ends in {error!r} where it reads an example; it should return one, or raise a DataError"
        ) from error
    except OwaeError:
        raise
    except Exception as error:
        error.add_note(f"while {name} read an example")
        raise


def examples(source: DataSource, indices: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
    """Reads examples of a source as floats on a device, (B, *shape), bytes mapped onto its value range; all of them unless indexed."""
    batch = read(source, torch.arange(len(source)) if indices is None else indices)
    return as_floats(batch.to(device, non_blocking=True), source.value_range)


def as_floats(batch: Tensor, value_range: Range, dtype: torch.dtype = torch.float32) -> Tensor:
    """Converts a batch to floats: bytes 0…255 are mapped linearly onto the range, alike on every device."""
    if batch.dtype != torch.uint8:
        return batch.to(dtype)
    low, high = value_range
    scale = (high - low) / 255
    # One kernel where launches cost; on a CPU the conversion alone is vectorised, and two passes in the cache are faster than one.
    floats = batch.to(dtype).mul_(scale) if batch.device.type == "cpu" else torch.mul(batch, scale).to(dtype)
    return floats.add_(low) if low else floats


def hold_out(source: DataSource, validation: float, seed: int) -> tuple[DataSource, DataSource]:
    """Splits a source into examples to train on and held-out ones, chosen by a seed, each in the source's order.

    `validation` is how many to hold out, from 1 on, or which share of them, below 1; `DataError` where a side has fewer than two.
    """
    count = round(validation * len(source)) if validation < 1 else int(validation)
    if count < 2 or len(source) - count < 2:
        raise DataError(f"validation = {validation:g} holds {count} of {len(source)} examples out; each side needs at least 2")
    # A stream of its own: the order of the first epoch, drawn from the same seed, has nothing to do with it.
    order = np.random.default_rng([seed, 0x5417]).permutation(len(source))
    held, kept = (torch.from_numpy(np.sort(part)) for part in np.split(order, [count]))
    return Subset(source, kept), Subset(source, held)
