"""A source of pictures in tar files, for sets that are larger than memory and are not to be decoded ahead."""

from __future__ import annotations

import hashlib
import io
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from owae.errors import DataError
from owae.interfaces import DataSource, Shape
from owae_data.base import Extent, Fraction, ValueRange
from owae_data.cache import data_root, writable_root
from owae_data.pictures import Form, ReadsPictures, read
from owae_data.shards.index import BROKEN, COLUMNS, NONE, Index, indexed, tar_files
from owae_data.split_folders import split_files
from owae_data.splits import hold_out

HASHED = 32  # pictures whose bytes tell a set from others

log = logging.getLogger(__name__)


class Shards(ReadsPictures, DataSource):
    """The pictures in tar files as webdataset writes them, (C, H, W), read from the files and decoded whenever they are asked for.

    Files are not compressed. What lies side by side under one name up to its first dot is a sample: `0001.jpg`, `0001.cls`. An index of
    the files is made once and kept in the data folder; then any picture is read by its place, so batches are in the order of any other
    source's, and a run goes on exactly. Memory holds the index, 60 bytes a picture. `train.workers` reads ahead.

    Args:
        path: A folder of `.tar` files, one file, a pattern (`*`), or a range as `faces-{000..099}.tar`; the train split, or both, told by
            names as `train-000.tar` and `test-000.tar`, or `train/000.tar`.
        test_path: The same of the test split; where neither that nor names tell, a part is held out.
        image: The ending of pictures' names, after the first dot; any that is a picture's unless given.
        labels: The ending of the members that hold labels, a whole number as text; false for none.
        channels: 1 for grey, 3 for RGB; by default 1 if all pictures are grey, else 3.
        size: Height and width to resize to, antialiased; by default their own, which must agree.
        crop: Height and width of the middle part to keep before resizing.
        background: What shows through where pictures are transparent.
        holdout: The share to hold out for testing, where no files are for that.
        skip_broken: Leave pictures that cannot be read out, with a warning, instead of refusing them.
        value_range: What black and white stand for.
    """

    name = "shards"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        path: Path,
        test_path: Path | None = None,
        image: str | None = None,
        labels: str | Literal[False] = "cls",
        channels: Literal[1, 3] | None = None,
        size: Extent | None = None,
        crop: Extent | None = None,
        background: Literal["white", "black"] = "white",
        holdout: Fraction = 0.1,
        skip_broken: bool = False,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        root = writable_root(data_root())
        files = {"train": tar_files(path.expanduser())}
        if test_path is not None:
            files["test"] = tar_files(test_path.expanduser())
        files = files if test_path is not None else split_files(files["train"], str(path)) or files
        parts = {part: _Part(path, paths, root, image, labels or None, skip_broken) for part, paths in files.items()}
        own = parts.get(split, parts["train"])
        self._index, rows = own.index, own.good
        found = own.index.column("label")[rows]
        given = None if (found == NONE).all() else torch.from_numpy(found.copy())
        if "test" not in parts:
            chosen = hold_out(len(rows), holdout, given)[split]
            rows, given = rows[chosen.numpy()], None if given is None else given[chosen]
        self._rows, self.labels = rows, given
        self._form = _form(self.form(channels=channels, size=size, crop=crop, background=background), list(parts.values()), path)
        assert self._form.channels is not None
        assert self._form.size is not None
        self.shape = (self._form.channels, *self._form.size)
        self.value_range = (float(value_range[0]), float(value_range[1]))

    @classmethod
    def declared_shape(cls, *, channels: Literal[1, 3] | None, size: Extent | None, **options: Any) -> Shape | None:
        return None if channels is None or size is None else (channels, *size)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        row = int(self._rows[index])
        try:
            return torch.from_numpy(np.array(read(io.BytesIO(self._bytes(row)), self._form), order="C"))
        except Exception as error:  # a damaged picture can lead Pillow into any error
            place = f"{self._index.paths[self._index.shard[row]]}, at byte {self._index.column('offset')[row]}"
            raise DataError(f"example {index} ({place}) cannot be read: {error or type(error).__name__}") from error

    def fingerprint(self) -> str:
        """A hash of the places of all pictures in the files, and of what is in 32 of them: no other version of a decoder changes that."""
        digest = hashlib.sha256(self._index.table[self._rows, : COLUMNS.index("further")].tobytes())
        for at in np.unique(np.linspace(0, len(self) - 1, min(HASHED, len(self))).round().astype(int)):
            digest.update(self._bytes(int(self._rows[at])))
        return digest.hexdigest()

    def _bytes(self, row: int) -> bytes:
        # Opened for each: the place in an open file is one for all threads, and for processes that were forked.
        with self._index.paths[self._index.shard[row]].open("rb") as file:
            file.seek(int(self._index.column("offset")[row]))
            return file.read(int(self._index.column("size")[row]))

    def __repr__(self) -> str:
        return f"Shards({len(self)} examples of shape {self.shape} within {self.value_range}, in {len(self._index.paths)} files)"


class _Part:
    """The pictures of some tar files: the index, and the rows of those that can be read."""

    def __init__(self, path: Path, files: list[Path], root: Path, image: str | None, label: str | None, skip_broken: bool) -> None:
        self.index: Index = indexed(files, root, image, label)
        heights = self.index.column("height")
        self.good = np.flatnonzero(heights != BROKEN)
        broken = len(heights) - len(self.good)
        if not len(heights):
            raise DataError(f"{path}: there are no pictures in these tar files")
        if broken:
            bad = int(np.flatnonzero(heights == BROKEN)[0])
            first = f"{self.index.paths[self.index.shard[bad]]}, at byte {self.index.column('offset')[bad]}"
            text = f"{path}: {broken} of {len(heights)} pictures cannot be read (the first: {first})"
            if not skip_broken or not len(self.good):
                raise DataError(f"{text}; mend or remove them, or leave them out by skip_broken = true")
            log.warning("%s and are left out", text)
        if further := int(self.index.column("further")[self.good].sum()):
            log.info("%s: %d of %d files hold further pages or frames, and the first of each is read", path, further, len(heights))


def _form(form: Form, parts: list[_Part], path: Path) -> Form:
    """Fills in what the options leave open from all pictures."""
    tables = np.concatenate([part.index.table[part.good][:, 3:6] for part in parts])
    channels = form.channels or (1 if tables[:, 0].max() == 1 else 3)
    size = form.size or form.crop
    if form.crop is not None and (small := (tables[:, 1] < form.crop[0]) | (tables[:, 2] < form.crop[1])).any():
        raise DataError(f"{path}: {small.sum()} of {len(tables)} pictures are smaller than the crop {form.crop[0]}x{form.crop[1]}")
    if size is None:
        ((height, width), most), *others = Counter(map(tuple, tables[:, 1:].tolist())).most_common()
        if others:
            (odd, count), *_ = others
            raise DataError(
                f"{path}: pictures differ in size (height x width): {most} are {height}x{width}, but {count} are {odd[0]}x{odd[1]}; set "
                f"size = [{height}, {width}], or another, to resize them all"
            )
        size = (height, width)
    return replace(form, channels=channels, size=size)
