"""A user's own tables: numbers, series or pictures in Parquet, Arrow and CSV files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from owae.errors import DataError
from owae_data.base import Extent, Fraction, StoredSource, ValueRange, apart
from owae_data.cache import ArrayCache, data_root, fingerprint
from owae_data.picture_sets import decode
from owae_data.pictures import Form, ReadsPictures
from owae_data.splits import hold_out
from owae_data.tables.files import Shards, TableFile, find_shards
from owae_data.tables.images import find_image, pictures_in
from owae_data.tables.labels import find_label, read_labels
from owae_data.tables.numbers import chosen_columns, read_numbers

log = logging.getLogger(__name__)


class Table(ReadsPictures, StoredSource):
    """Rows of Parquet, Arrow or CSV files: numbers (D,), series or matrices of one column of lists, or pictures (C, H, W).

    Files may be shards: `path` is a file, a folder, a pattern such as `data/train-*.parquet`, or several. What is named so is for training
    or testing (`train-00000-of-00002.parquet`, `test/data.arrow`); else a part is held out. Columns of numbers are put one after the
    other, and every cell must hold a finite number. A set saved from the Hugging Face hub is read with its pictures and names of classes.

    Args:
        path: The files of the training split, or of both.
        test_path: The files of the test split.
        columns: The columns that make an example, by names or patterns (`["x*", "weight"]`); by default the one column of lists, or
            where there is none all numbers but the classes and what is called id or index.
        image: The column of pictures: bytes of files, paths relative to the table's folder, or a struct of both; by default the one that
            the hub has set down, if columns names none.
        label: The column of classes, whole numbers or texts; by default what the hub has set down, or `label`, `target`, `class`, `y`;
            false for none.
        standardise: Whether each column is shifted and scaled to mean 0 and standard deviation 1 over the training rows. The run keeps
            these numbers, and what it writes is in the columns' own units again.
        holdout: The share to hold out for testing where no file is for that.
        channels: Of pictures: 1 for grey, 3 for RGB; by default 1 if all are grey, else 3.
        size: Of pictures: height and width to resize to, antialiased; by default their own, which must agree.
        crop: Of pictures: height and width of the middle part to keep before resizing.
        background: Of pictures: what shows through where they are transparent.
        skip_broken: Of pictures: leave those that cannot be read out, with a warning, instead of refusing them.
        value_range: Of pictures: what black and white stand for. Numbers have the range that is found.

    Attributes:
        label: The column of classes; None for none.
        image: The column of pictures; None where an example is made of numbers.
        columns: Those that make an example of numbers.
        unused: Columns that nobody named and that hold no numbers, so that they are no part of it.
    """

    name = "table"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        path: Path | list[Path],
        test_path: Path | list[Path] | None = None,
        columns: list[str] | None = None,
        image: str | Literal[False] | None = None,
        label: str | Literal[False] | None = None,
        standardise: bool = False,
        holdout: Fraction = 0.1,
        channels: Literal[1, 3] | None = None,
        size: Extent | None = None,
        crop: Extent | None = None,
        background: Literal["white", "black"] = "white",
        skip_broken: bool = False,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        shards = find_shards(path, test_path)
        first = shards.train[0]
        for file in (*shards.train, *shards.test):
            file.require_rows()
        if image is None and columns is None:
            image = find_image(first)
        if image and columns:
            raise ValueError("columns and image: an example is made of numbers or is a picture; name one of the two")
        if columns == []:
            raise ValueError("columns: found an empty list; names or patterns of columns would work")
        self.label, self.image, self.columns, self.unused = _label(shards, label), image or None, [], []
        level = logging.WARNING if split == "train" else logging.DEBUG  # both splits are opened as a rule; once is enough
        labels, classes = _labels(shards, self.label)
        if image:
            form = self.form(channels=channels, size=size, crop=crop, background=background)
            good = self._read_pictures(shards, image, form, skip_broken)
            rows = _rows(shards, holdout, None if labels is None else labels[good], good)[split]
            examples, bounds = self._album.examples, value_range
        else:
            self.columns, self.unused = chosen_columns(first, columns, {self.label} if self.label else set(), level)
            values, names, owners = read_numbers([*shards.train, *shards.test], self.columns)
            parts = _rows(shards, holdout, labels, torch.arange(len(values)))
            if standardise:
                values, self.units = _standardised(values, parts["train"].numpy(), names, np.array(owners), self.columns, level)
            rows, examples = parts[split], torch.from_numpy(values)
            bounds = apart(float(values.min()), float(values.max()))
        super().__init__(examples, rows=rows, labels=None if labels is None else labels[rows], value_range=bounds)
        self.class_names = classes

    def _read_pictures(self, shards: Shards, image: str, form: Form, skip_broken: bool) -> Int[Tensor, " N"]:
        """Decodes the pictures, and tells which rows could be."""
        files = [*shards.train, *shards.test]
        pictures = pictures_in(files, image)
        cached = ArrayCache(data_root(), self.name, form_key(form, image, files))
        # Kept, since the other split finds it decoded as long as it lives.
        self._album = decode(pictures, form, cached, skip_broken=skip_broken)
        return self._album.good.nonzero()[:, 0]


def form_key(form: Form, column: str, files: Sequence[TableFile]) -> dict[str, Any]:
    """What decoded pictures of a column are kept under."""
    return {**asdict(form), "column": column, "files": fingerprint((str(file.path), file.path) for file in files)}


def _label(shards: Shards, label: str | Literal[False] | None) -> str | None:
    return find_label(shards.train[0]) if label is None else label or None


def _labels(shards: Shards, name: str | None) -> tuple[Int[Tensor, " N"] | None, tuple[str, ...] | None]:
    """The classes of all rows, those of the training files first, and their names."""
    if name is None:
        return None, None
    numbers, names = read_labels([shards.train, shards.test], name)
    return torch.from_numpy(np.concatenate(numbers)), names


def _rows(
    shards: Shards, holdout: float, labels: Int[Tensor, " M"] | None, good: Int[Tensor, " M"]
) -> dict[str, Int[Tensor, " _"]]:
    """The rows of each split, as all files' are counted, out of those that could be read."""
    if not shards.test:
        return {split: good[rows] for split, rows in hold_out(len(good), holdout, labels).items()}
    count = sum(file.rows for file in shards.train)
    rows = {"train": good[good < count], "test": good[good >= count]}
    for split, found in rows.items():
        if not len(found):
            raise DataError(f"{shards.train[0].path.parent}: no row of the {split} split can be read")
    return rows


def _standardised(
    values: np.ndarray, train: np.ndarray, names: list[str], owners: np.ndarray, columns: list[str], level: int
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Shifts and scales each column by what the training rows have, and says how that is undone."""
    flat = values.reshape(len(values), -1)
    shift, scale = np.empty(flat.shape[1]), np.empty(flat.shape[1])
    for number, column in enumerate(columns):
        own = owners == number
        entries = flat[np.ix_(train, own)].astype(np.float64)
        shift[own], scale[own] = entries.mean(), entries.std()
        if entries.std() <= 1e-7 * max(1.0, abs(entries.mean())):
            log.log(level, "column '%s' is %g in every training row; it is shifted and not scaled", column, entries.mean())
            scale[own] = 1.0
    out = ((flat - shift) / scale).astype(np.float32).reshape(values.shape)
    return out, {"names": names, "shift": shift.tolist(), "scale": scale.tolist()}
