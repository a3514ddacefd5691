"""A user's own arrays: `.npy` and `.npz` files of bytes, integers, booleans or floats.

A model of another image set should train on these with only `[data]` changed, so whatever numbers they hold are brought into one
range; `owae_data.scales` says how, and `owae_data.layouts` where the channels are looked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from owae.errors import DataError
from owae_data.array_files import IMAGES, LABELS, TEST_IMAGES, TEST_LABELS, ArrayFile, open_arrays
from owae_data.base import Fraction, StoredSource, ValueRange, units
from owae_data.layouts import Layout, channel_axis, channels_first
from owae_data.scales import KINDS, Linear, Scale, blocks, finite_range, scale_for
from owae_data.splits import hold_out

log = logging.getLogger(__name__)

Key = str | Literal[False] | None  # the name of an array; False for none, None to find it


class Arrays(StoredSource):
    """Images or vectors from NumPy files: (N, H, W), (N, C, H, W), (N, H, W, C) or (N, D).

    Bytes, booleans and whole numbers within 0…255 become bytes; floats become float32. NaN and infinities are left in the data,
    for the training step to find and name. Files of Python objects are refused. Where floats are rescaled, the run keeps by what (`units`):
    a user's own arrays are then read alike, and arrays that a run writes are in the file's units again.

    Args:
        path: The file of the train split, or of both.
        test_path: The file of the test split. By default that is the arrays `x_test` and `y_test` (or such names) in `path`, and
            where there are none it is held out.
        images: Name of the images in a `.npz`. By default `x`, `images`, `data`, `x_train` or another usual name, or else the one
            array with the most elements.
        labels: Name of the labels, one whole number or text an image, in a `.npz`; by default `y`, `labels`, `y_train` or
            such; false for none.
        labels_path: A file of labels for `path`.
        test_labels_path: A file of labels for the test split.
        layout: Where the channels of images in four dimensions stand: second ("chw"), last ("hwc"), or as the sizes tell ("auto").
        holdout: The share to hold out where there is no test split.
        value_range: The range to bring values into.
        rescale: Whether floats may be rescaled to that; if not, `value_range` becomes the range that they have.
    """

    name = "arrays"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        path: Path,
        test_path: Path | None = None,
        images: str | None = None,
        labels: Key = None,
        labels_path: Path | None = None,
        test_labels_path: Path | None = None,
        layout: Layout = "auto",
        holdout: Fraction = 0.1,
        value_range: ValueRange = (0.0, 1.0),
        rescale: bool = True,
    ) -> None:
        file = open_arrays(path)
        image_key = file.images() if images is None or file.single else images
        label_key = (None if file.single else file.find(*LABELS)) if labels is None else labels or None
        level = logging.WARNING if split == "train" else logging.DEBUG  # both splits are opened as a rule; once is enough
        train = _read(file, image_key, label_key, labels_path, level)
        axis = channel_axis(train.array.shape, layout, train.place, level)

        same_file = test_path is None
        test_file = file if test_path is None else open_arrays(test_path)
        test_key = _test_key(test_file, image_key, images, same_file=same_file)
        if test_key is None:
            rows = hold_out(len(train.array), holdout, train.labels)
            parts = {"train": train.restrict(rows["train"]), "test": train.restrict(rows["test"])}
        else:
            test_label_key = None if labels is False else _test_label_key(test_file, label_key, same_file=same_file)
            parts = {"train": train, "test": _read(test_file, test_key, test_label_key, test_labels_path, level)}

        parts = dict(zip(parts, _numbered(*parts.values()), strict=True))
        scale = _common_scale(parts["train"], parts["test"], value_range, rescale, level)
        part = parts[split]
        if isinstance(part.array, np.memmap):
            stored = _mapped(file.path if part.array is train.array else test_file.path, axis)
            super().__init__(stored, rows=part.rows, labels=part.labels, value_range=scale.value_range, convert=scale)
        else:
            stored = channels_first(part.convert(scale), axis).contiguous()
            super().__init__(stored, labels=part.labels, value_range=scale.value_range)
        self.class_names = part.classes
        if isinstance(scale, Linear):
            self.units = units(scale.source, scale.value_range)


def _mapped(path: Path, axis: int | None) -> Tensor:
    """Maps the array in a `.npy` file, channels first; the attribute `reopen` does so in another process, which is sent no bytes."""
    stored = channels_first(torch.from_numpy(np.load(path, allow_pickle=False, mmap_mode="c")), axis)
    stored.reopen = partial(_mapped, path.absolute(), axis)  # pyright: ignore[reportAttributeAccessIssue] # read by StoredSource
    return stored


@dataclass(frozen=True)
class _Part:
    """The examples of one split, as they are in their file.

    Attributes:
        array: The file's whole array.
        place: How messages name it.
        rows: Those of its rows that are in this split.
        labels: One for each of `rows`.
        classes: Their names, where the labels are texts.
    """

    array: np.ndarray
    place: str
    rows: Int[Tensor, " N"]
    labels: Int[Tensor, " N"] | None
    classes: tuple[str, ...] | None

    def restrict(self, rows: Int[Tensor, " M"]) -> _Part:
        return replace(self, rows=rows, labels=None if self.labels is None else self.labels[rows])

    def convert(self, scale: Scale) -> Shaped[Tensor, "N ..."]:
        out = torch.empty(len(self.rows), *self.array.shape[1:], dtype=scale.dtype)
        at = 0
        for run in blocks(self.rows.numpy(), self.array[0].size):
            out[at : at + len(run)] = scale(torch.from_numpy(self.array[run].astype(scale.exact)))
            at += len(run)
        return out


def _read(file: ArrayFile, key: str, label_key: str | None, labels_path: Path | None, level: int) -> _Part:
    array = file.read(key)
    if array.ndim == 0:
        raise DataError(f"{file.place(key)} is a single number, not an array of examples")
    if array.dtype.kind not in KINDS:
        raise DataError(f"{file.place(key)} has dtype {array.dtype}; bytes, other integers, booleans or floats are wanted")
    if labels_path is not None:
        label_file = open_arrays(labels_path)
        found = label_file.find(*LABELS)
        labels = _labels(label_file, label_file.images() if found is None else found, len(array), file.place(key), level)
    else:
        labels = (None, None) if label_key is None else _labels(file, label_key, len(array), file.place(key), level)
    return _Part(array, file.place(key), torch.arange(len(array)), *labels)


def _labels(file: ArrayFile, key: str, count: int, place: str, level: int) -> tuple[Int[Tensor, " N"], tuple[str, ...] | None]:
    """Numbers of classes, and their names in sorted order where they are texts, of which an empty one is none."""
    array = file.read(key)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "US" and array.shape == (count,):
        texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in array.tolist()]
        names = tuple(sorted({*texts} - {""}))
        number = {name: place for place, name in enumerate(names)}
        return torch.tensor([number.get(text, -1) for text in texts]), names
    if array.ndim == 1 and array.dtype.kind == "f" and bool((np.isfinite(array) & (array == np.floor(array))).all()):
        array = array.clip(-(2.0**53), 2.0**53).astype(np.int64)  # as numpy.savetxt and MATLAB leave whole numbers
    if array.ndim != 1 or array.dtype.kind not in "iub" or len(array) != count:
        raise DataError(
            f"{file.place(key)} has shape {array.shape} and dtype {array.dtype}, but labels are one whole number or text for each of "
            f"the {count} examples of {place}; labels = false leaves them out"
        )
    if array.size and not (array.min() >= -1 and array.max() < 2**31):
        raise DataError(
            f"{file.place(key)} holds labels from {array.min()} to {array.max()}; classes are numbered from 0, and -1 stands for none"
        )
    labels = array.astype(np.int64)
    if (labels == -1).any():
        none = (labels == -1).sum()
        log.log(level, "%s: %d of %d examples are labelled -1, which stands for no class", file.place(key), none, count)
    return torch.from_numpy(labels), None


def _numbered(train: _Part, test: _Part) -> tuple[_Part, _Part]:
    """Both splits with one numbering of classes, where those are texts."""
    named = [part for part in (train, test) if part.classes is not None and part.labels is not None]
    if not named:
        return train, test
    if len(named) == 1 and train.labels is not None and test.labels is not None:
        raise DataError(f"the labels of {named[0].place} are texts, those of the other split numbers; save them alike")
    classes = tuple(sorted({name for part in named for name in part.classes or ()}))

    def anew(part: _Part) -> _Part:
        if part.labels is None:
            return replace(part, classes=classes)
        places = torch.tensor([*map(classes.index, part.classes or ()), -1])  # the last is that of no class
        return replace(part, labels=places[part.labels], classes=classes)

    return anew(train), anew(test)


def _test_key(file: ArrayFile, train_key: str, asked: str | None, *, same_file: bool) -> str | None:
    """The key of the test images: one named after the train images, or a usual name; None for none."""
    if same_file:
        found = None if file.single else file.find(*_test_names(train_key), *(() if asked else TEST_IMAGES))
        return None if found == train_key else found
    found = file.find(*_test_names(train_key), *TEST_IMAGES, train_key.lower(), *IMAGES)
    return file.images() if found is None else found


def _test_label_key(file: ArrayFile, train_key: str | None, *, same_file: bool) -> str | None:
    if file.single:
        return None
    names = [*(_test_names(train_key) if train_key else ()), *TEST_LABELS]
    return file.find(*names) if same_file else file.find(*names, (train_key or "").lower(), *LABELS)


def _test_names(key: str) -> tuple[str, ...]:
    key = key.lower()
    return tuple(key.replace("train", part) for part in ("test", "val")) if "train" in key else (f"{key}_test", f"test_{key}")


def _common_scale(train: _Part, test: _Part, wanted: tuple[float, float], rescale: bool, level: int) -> Scale:
    shapes = [part.array.shape[1:] for part in (train, test)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"train examples ({train.place}) have shape {shapes[0]}, test examples ({test.place}) {shapes[1]}; they must agree"
        )
    seen, unseen = (finite_range(part.array, part.rows.numpy()) for part in (train, test))
    dtypes = {train.array.dtype, test.array.dtype}
    return scale_for(dtypes, seen, unseen, wanted, rescale=rescale, place=train.place, level=level)
