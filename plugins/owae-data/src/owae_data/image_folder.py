"""A folder of a user's own pictures."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from owae.errors import DataError
from owae_data.base import Extent, Fraction, StoredSource, ValueRange, units
from owae_data.cache import ArrayCache, data_root, fingerprint
from owae_data.layouts import Layout
from owae_data.picture_sets import Pictures, decode, picture_names, report
from owae_data.pictures import SUFFIXES, Form, ReadsPictures
from owae_data.rasters import Rasters, are_rasters, is_deep_grey, read_rasters
from owae_data.split_folders import find_splits
from owae_data.splits import hold_out

log = logging.getLogger(__name__)


class ImageFolder(ReadsPictures, StoredSource):
    """The PNG, JPEG, BMP, GIF, TIFF and WebP pictures in a folder and its sub-folders, (C, H, W).

    Folders in it that are named as splits usually are, in any case (train, training; val, valid, validation, dev; test, testing), are
    the splits; what is named so by half is refused (`owae_data.split_folders`). Without such folders a part is held out. If every
    picture is in a sub-folder (of the splits, where there are any) and there are at least two of those, they are its classes, numbered
    by their sorted names. Hidden files and folders are passed over. How modes, depths, transparency and orientation are read stands in
    `owae_data.pictures`. TIFF files of other channels than those, or of more than 8 bits in several channels, 32 bits or floats, and `.npy`
    files where there are no pictures, are read with all their channels and depth (`owae_data.rasters`), and held in memory.

    The pictures are decoded into memory. Beyond 2 GiB they are decoded once into a file in the data folder (`OWAE_DATA`, by default
    the user's cache folder), which is mapped.

    Args:
        path: The folder.
        channels: 1 for grey, 3 for RGB; by default 1 if all pictures are grey, else 3.
        size: Height and width to resize to, antialiased and without regard to the aspect; by default their own, which must agree.
        crop: Height and width of the middle part to keep before resizing.
        background: What shows through where pictures are transparent.
        splits: Whether folders are splits where they are named so; false takes all folders for classes.
        holdout: The share to hold out for testing, at least one picture, where there are no splits.
        skip_broken: Leave pictures that cannot be read out, with a warning, instead of refusing them.
        layout: Where the channels of `.npy` files with three or four axes are: before height and width ("chw"), last ("hwc"), or as the
            sizes tell ("auto").
        source_range: The values of `.npy` files, of TIFF files of many channels or bits, and of pictures in grey of 16 bits that are
            mapped on value_range; by default the whole range of their type, or for floats as `owae_data.rasters` says.
        value_range: What black and white stand for.
    """

    name = "image-folder"
    LOOKED_AT = 500  # pictures

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        path: Path,
        channels: Literal[1, 3] | None = None,
        size: Extent | None = None,
        crop: Extent | None = None,
        background: Literal["white", "black"] = "white",
        splits: bool = True,
        holdout: Fraction = 0.1,
        skip_broken: bool = False,
        layout: Layout = "auto",
        source_range: ValueRange | None = None,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        folder = path.expanduser().absolute()
        if not folder.is_dir():
            found = "is a file" if folder.is_file() else "does not exist"
            raise DataError(f"{folder} {found}; a folder of pictures is wanted")
        names = picture_names(folder) or picture_names(folder, also=(".npy",))
        if not names:
            raise DataError(f"{folder} has no pictures in it; looked for {', '.join(sorted(SUFFIXES))}, .npy, not for hidden files")
        parts = find_splits(folder, names) if splits else None
        if parts is not None:
            names = [name for part in ("train", "test") for name in names if name.startswith(f"{parts[part]}/")]
        form = self.form(channels=channels, size=size, crop=crop, background=background)
        deep = source_range is not None  # a range that is said is of more than bytes
        rasters = self._rasters(folder, names, form, layout, skip_broken, deep)
        key = {**asdict(form), "folder": str(folder), "files": fingerprint((name, folder / name) for name in names)}
        cached = ArrayCache(data_root(), self.name, key)
        if rasters is None:
            if source_range is not None:
                raise ValueError(
                    "source_range: these are pictures of bytes; it is of .npy, TIFF of other depths, and grey of 16 bits"
                )
            # Kept, since the other split finds it decoded as long as it lives.
            self._album = decode(Pictures.of_folder(folder, names), form, cached, skip_broken=skip_broken)
            good = self._album.good.nonzero()[:, 0]
            found = [names[row] for row in good.tolist()]
        else:
            found, good = rasters.files, torch.arange(len(rasters.files))
        classes, labels = _classes([name.split("/")[0 if parts is None else 1 :] for name in found])
        if classes is not None and labels is None and split == "train":
            log.warning(
                "%s: pictures outside of the folders %s, so these are not taken for classes", folder, ", ".join(classes[:10])
            )
        if parts is None:
            rows = hold_out(len(good), holdout, labels)
        else:
            rows = {of: torch.tensor([name.startswith(f"{part}/") for name in found]).nonzero()[:, 0] for of, part in parts.items()}
        own = rows[split]
        if not len(own):
            raise DataError(f"{folder}: no picture of the {split} split can be read")
        own_labels = None if labels is None else labels[own]
        level = logging.WARNING if split == "train" else logging.DEBUG  # both splits are opened as a rule; once is enough
        source = None if rasters is None else rasters.source(rows["train"], source_range, level)
        examples = self._album.examples if rasters is None else rasters.scaled(source, value_range)
        self.units = None if source is None else units(source, value_range)
        if rasters is None and split == "train" and is_deep_grey(folder / found[0]):
            most = (
                int(examples[good[: self.LOOKED_AT]].max()) * 257 - 128
            )  # of the numbers that are rounded to that byte the middle
            if most < 1 << 14:
                said = "%s: the pictures of 16 bits reach about %d of 65535, and are read as 8 bits, of which few are left; "
                said += "source_range = [0, %d], or what their camera has, reads them in full"
                log.warning(said, folder, most, (1 << most.bit_length()) - 1)
        super().__init__(examples, rows=good[own], labels=own_labels, value_range=value_range)
        self.class_names = None if labels is None else classes
        self._folder, self._names = folder, [found[row] for row in own.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_album"}

    @staticmethod
    def _rasters(folder: Path, names: list[str], form: Form, layout: Layout, skip_broken: bool, deep: bool) -> Rasters | None:
        """Reads files that are more than bytes in grey or colour; None where the first that can be opened is not."""
        if not are_rasters(folder, names, deep=deep):
            return None
        if form.channels is not None:
            raise ValueError("channels: files of many channels or bits keep their own; leave it out")
        rasters = read_rasters(folder, names, form, layout)
        if rasters.broken:
            report(rasters.broken, Pictures.of_folder(folder, names), skip_broken)
        return rasters

    def fingerprint(self) -> str:
        """A hash of the files' names and sizes, and of what is in 32 of them: no other version of a decoder changes that."""
        step = max(1, len(self._names) // 32)
        digest = hashlib.sha256()
        for i, name in enumerate(dict.fromkeys(self._names)):
            path = self._folder / name
            digest.update(f"{name}\0{path.stat().st_size}\0".encode(errors="surrogateescape"))
            digest.update(b"" if i % step else path.read_bytes())
        return digest.hexdigest()


def _classes(paths: list[list[str]]) -> tuple[tuple[str, ...] | None, Int[Tensor, " N"] | None]:
    """Names of the classes, and the class of each picture, from paths below the split; None if there are not two folders at least.

    Where there are, but also pictures beside them, the names come without numbers.
    """
    classes = tuple(sorted({path[0] for path in paths if len(path) > 1}))
    if len(classes) < 2:
        return None, None
    if any(len(path) == 1 for path in paths):
        return classes, None
    number = {name: index for index, name in enumerate(classes)}
    return classes, torch.tensor([number[path[0]] for path in paths])
