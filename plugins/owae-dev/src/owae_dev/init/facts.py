"""Looks at a source's examples: how many, of what shape, range and classes, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from owae.data.sources import as_floats, read
from owae.errors import DataError
from owae.interfaces import DataSource

LOOKED_AT = 10_000  # examples
NUMBERS = 1 << 26  # and numbers in all
SHORTEST = 16  # numbers of a series, as in figures
_CHUNK = 1000


@dataclass(frozen=True)
class Facts:
    """What was seen of a source.

    Attributes:
        train: The examples to train on.
        test: The held-out ones.
        looked: How many of the former were looked at, spread over all.
        mean: Of all their numbers.
        std: Of all their numbers.
        variance: The sum of the variances of an example's numbers: what the best constant prediction has for a squared error.
        constant: How many of an example's numbers never change.
        alike: Correlation of neighbouring numbers.
        copies: Examples that are exact copies of others.
        shared: Held-out examples that are exact copies of others to train on, of those looked at.
    """

    train: DataSource
    test: DataSource
    looked: int
    mean: float
    std: float
    variance: float
    constant: int
    alike: float
    copies: int
    shared: int

    @property
    def size(self) -> int:
        """The number of numbers of an example."""
        return int(torch.Size(self.train.shape).numel())

    @property
    def is_image(self) -> bool:
        return len(self.train.shape) == 3

    def lines(self) -> list[str]:
        """What was seen, in words."""
        low, high = self.train.value_range
        shape = "×".join(map(str, self.train.shape))
        lines = [
            f"{len(self.train):,} examples to train on, {len(self.test):,} held out, {shape} in [{low:g}, {high:g}]; "
            f"mean {self.mean:.3g}, standard deviation {self.std:.3g}"
        ]
        if (said := self._classes()) is not None:
            lines.append(said)
        if self.constant:
            lines.append(f"{self.constant:,} of an example's {self.size:,} numbers never change")
        if len(self.train.shape) == 1 and self.size >= SHORTEST and self.alike > 0.7:
            lines.append(f"neighbouring numbers are alike (correlation {self.alike:.2f}), as in series or spectra")
        if self.copies:
            lines.append(f"{self.copies:,} of {self.looked:,} examples are exact copies of others")
        if self.shared:
            lines.append(
                f"{self.shared:,} held-out examples are exact copies of some to train on: what is measured on them flatters"
            )
        return lines

    def _classes(self) -> str | None:
        labels = self.train.labels
        if labels is None:
            return None
        counts = Counter(labels[labels >= 0].tolist())
        names = self.train.class_names
        if not counts:
            return None
        (most, many), (least, few) = counts.most_common(1)[0], min(counts.items(), key=lambda item: (item[1], item[0]))
        called = [str(each) if names is None else names[each] for each in (most, least)]
        sizes = f"from {few:,} examples ({called[1]}) to {many:,} ({called[0]})" if few < many else f"each of {few:,} examples"
        return f"{len(counts):,} classes, {sizes}; labels colour figures and are not trained on"


def look(train: DataSource, test: DataSource) -> Facts:
    """Looks at examples spread over both splits.

    Raises:
        DataError: Some hold numbers that are not finite, or all are one.
    """
    size = int(torch.Size(train.shape).numel())
    rows = looked_at(train)
    seen: set[bytes] = set()
    copies, count = 0, 0
    total, squares = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    products = torch.zeros(size - 1, dtype=torch.float64)  # of neighbours
    for chunk in rows.split(_CHUNK):
        stored = read(train, chunk)
        x = as_floats(stored, train.value_range).double()
        bad = ~x.flatten(1).isfinite().all(1)
        if bad.any():
            raise DataError(
                f"examples hold values that are not finite, the first of them example {int(chunk[bad][0])}; training would stop at it: "
                "leave such examples out, or put numbers in"
            )
        for key in _keys(stored):
            copies += key in seen
            seen.add(key)
        flat = x.flatten(1)
        total, squares, count = total + flat.sum(0), squares + flat.square().sum(0), count + len(flat)
        products += (flat[:, :-1] * flat[:, 1:]).sum(0)
    mean = total / count
    variances = (squares / count - mean.square()).clamp(min=0)
    every = float(total.sum() / (count * size))
    spread = float((squares.sum() / (count * size) - every**2).clamp(min=0).sqrt())
    tiny = 1e-12 * max(1.0, every**2 + spread**2)
    if not (variances > tiny).any():
        raise DataError("all examples are alike; there is nothing to learn from them")
    others = [key for chunk in _spread(len(test), 1000).split(_CHUNK) for key in _keys(read(test, chunk))]
    return Facts(
        train=train,
        test=test,
        looked=len(rows),
        mean=every,
        std=spread,
        variance=float(variances.sum()),
        constant=int((variances <= tiny).sum()),
        alike=_correlation(products / count - mean[:-1] * mean[1:], variances),
        copies=copies,
        shared=sum(key in seen for key in others),
    )


def looked_at(source: DataSource) -> Tensor:
    """Returns the rows of a source that are looked at, spread over all."""
    return _spread(len(source), max(2, min(LOOKED_AT, NUMBERS // int(torch.Size(source.shape).numel()))))


def _spread(count: int, most: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long().unique()


def _keys(stored: Tensor) -> list[bytes]:
    return [row.tobytes() for row in stored.flatten(1).cpu().contiguous().numpy()]


def _correlation(covariances: Tensor, variances: Tensor) -> float:
    scale = float((variances[:-1].sum() * variances[1:].sum()).sqrt())
    return float(covariances.sum()) / scale if scale > 0 else 0.0
