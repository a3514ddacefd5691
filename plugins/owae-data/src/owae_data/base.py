"""Examples at rest in one tensor, which is what every source here comes down to, and the options that sources share.

Images stay bytes, a quarter of the memory that floats take, and a batch is one gather. A tensor may be mapped from a file: its
pages are then read when a batch asks for them and shared between processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
from jaxtyping import Int, Shaped
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor

from owae.interfaces import DataSource

LARGE = 2 << 30  # bytes: beyond this, examples are mapped from a file instead of being held in memory

HASHED = 64 << 20  # bytes: up to this, all of a set's examples are hashed, in a tenth of a second


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("the first must be below the second, as [0, 1] or [-1, 1]")
    return bounds


def apart(low: float, high: float) -> tuple[float, float]:
    """Two bounds, of which the second is raised where all values are one; by so much that the sum is another number too."""
    return low, high if low < high else low + max(1.0, abs(low) / 1000)


def units(source: tuple[float, float], target: tuple[float, float]) -> dict[str, list[Any]] | None:
    """What `DataSource.units` says of numbers of which one range was mapped linearly on another; None where nothing changed."""
    scale = (source[1] - source[0]) / (target[1] - target[0])
    return None if source == target else {"names": [], "shift": [source[0] - target[0] * scale], "scale": [scale]}


ValueRange = Annotated[tuple[float, float], AfterValidator(_ascending)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Extent = tuple[PositiveInt, PositiveInt]  # height, width


class StoredSource(DataSource):
    """A source whose examples are rows of one tensor. Each concrete source fills one and hands it to this constructor.

    Args:
        examples: The rows, uint8 or whatever `convert` takes; may be mapped from a file.
        rows: The rows that are this source's examples, in order; all by default.
        labels: One class for each example (not for each row of `examples`); -1 for none.
        value_range: Bounds of the examples; what 0 and 255 stand for where they are uint8.
        convert: Turns gathered rows into float32 examples; by default they are handed out as they are stored.
    """

    def __init__(
        self,
        examples: Shaped[Tensor, "M *x"],
        /,
        *,
        rows: Int[Tensor, " N"] | None = None,
        labels: Int[Tensor, " N"] | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        convert: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.shape = tuple(examples.shape[1:])
        self.value_range = (float(value_range[0]), float(value_range[1]))
        self.labels = None if labels is None else labels.to(torch.int64)
        self._examples = examples
        self._rows = torch.arange(len(examples)) if rows is None else rows
        self._convert = convert

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.batch(torch.tensor([index]))[0]

    def batch(self, indices: Int[Tensor, " B"]) -> Tensor:
        """The examples at `indices`, (B, *shape), as a copy; negative ones count from the end, as in a list."""
        gathered = self._examples.index_select(0, self._rows[indices])
        return gathered if self._convert is None else self._convert(gathered)

    def fingerprint(self) -> str:
        """A hash of all examples as they are stored, where they are few; of some of them, where they are many."""
        if len(self) * self._examples[:1].nbytes > HASHED:
            return super().fingerprint()
        digest = hashlib.sha256()
        for rows in self._rows.split(4096):
            digest.update(self._examples.index_select(0, rows).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: of a mapped file its place, not its bytes, which would fill the memory that processes share."""
        state = self.__dict__.copy()
        state["_examples"] = getattr(self._examples, "reopen", self._examples)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if not isinstance(self._examples, Tensor):
            self._examples = self._examples()

    def __repr__(self) -> str:
        kinds = "" if self.labels is None else f", {len(self.labels[self.labels >= 0].unique())} classes"
        return f"{type(self).__name__}({len(self)} examples of shape {self.shape} within {self.value_range}{kinds})"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Runs the block without third parties' warnings, and with what they print on stderr: stdout belongs to results."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield
