"""CelebA: 202,599 faces of celebrities, aligned (Liu et al., 2015), from its archive or from a folder of its pictures."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from owae.errors import DataError, suggestion
from owae.interfaces import Shape
from owae_data.base import Extent, Fraction, StoredSource, ValueRange
from owae_data.picture_sets import Pictures, decode, is_picture, picture_names
from owae_data.pictures import Form
from owae_data.public_files import LocalFile, OfficialFile, PublicFiles
from owae_data.splits import hold_out

PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
FOLDER = "img_align_celeba"
ARCHIVE = OfficialFile("img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb", PAGE, drive="0B7EVK8r0v71pZjFTYXZWM3FlRnM")
PARTITION = OfficialFile("list_eval_partition.txt", "d32c9cbf5e040fd4025c592c306e6668", PAGE, drive="0B7EVK8r0v71pY0NSMzRuSXJEVkk")
ATTRIBUTES = OfficialFile("list_attr_celeba.txt", "75e246fa4810816ffd6ee81facbd244c", PAGE, drive="0B7EVK8r0v71pblRyaVFSWGxPY0U")
OFFICIAL = {"train": 0, "test": 2}  # numbers of the splits in the partition; 1 is for validation, and stays unused

log = logging.getLogger(__name__)


class CelebA(StoredSource):
    """Faces, cropped to their middle and resized, (3, 64, 64) unless told otherwise.

    Pictures are looked for in `celeba` in the data folder and in that folder itself: a folder `img_align_celeba`, the archive
    `img_align_celeba.zip`, or pictures that lie there openly, as few as they may be. They are decoded once, into `decoded` in the
    data folder. The splits are the official ones (162,770 to train on, 19,962 to test on) where `list_eval_partition.txt` (or the
    `.csv` that goes about) lies beside them, as it does after a download, and held out where not.

    Args:
        root: The data folder; by default that in the environment variable `OWAE_DATA`, or else the user's cache folder.
        download: Whether to download what is missing (the archive is 1.4 GB).
        verify: Whether the archive must have the official checksum (downloads must in any case).
        size: Height and width to resize to, antialiased.
        crop: Height and width of the middle part to keep before that; the pictures are 218 high and 178 wide.
        attribute: One of the 40 attributes, such as "Smiling", to be the label: 1 where it holds, else 0.
        holdout: The share to hold out where there is no partition.
        skip_broken: Leave pictures that cannot be read out, with a warning, instead of refusing them.
        value_range: What black and white stand for.
    """

    name = "celeba"

    def __init__(
        self,
        split: Literal["train", "test"],
        /,
        *,
        root: Path | None = None,
        download: bool = True,
        verify: bool = True,
        size: Extent = (64, 64),
        crop: Extent = (140, 140),
        attribute: str | None = None,
        holdout: Fraction = 0.1,
        skip_broken: bool = False,
        value_range: ValueRange = (-1.0, 1.0),
    ) -> None:
        files = PublicFiles(self.name, root, download=download, verify=verify)
        pictures, archive = _pictures(files)
        paths = [(ARCHIVE.name, archive.path)] if archive else [(name, Path(pictures.place, name)) for name in pictures.names]
        cached = files.cache(paths, size=list(size), crop=list(crop))
        if archive is not None and not cached.path.is_file():
            files.check(archive)
        form = self.form(size=size, crop=crop)
        # Kept, since the other split finds it decoded as long as it lives.
        self._album = decode(pictures, form, cached, skip_broken=skip_broken, keep=True)

        good = self._album.good.nonzero()[:, 0]
        stems = [Path(pictures.names[row]).stem for row in good.tolist()]
        own = _split(files, stems, split, holdout)
        labels = None if attribute is None else _attribute(files, [stems[row] for row in own.tolist()], attribute)
        self.class_names = None if attribute is None else (f"not {attribute}", attribute)
        super().__init__(self._album.examples, rows=good[own], labels=labels, value_range=value_range)

    @classmethod
    def form(cls, *, size: Extent, crop: Extent, **options: Any) -> Form:
        """How pictures are read under these options."""
        return Form(3, (size[0], size[1]), (crop[0], crop[1]))

    @classmethod
    def declared_shape(cls, *, size: Extent, **options: Any) -> Shape:
        """In colour, of the size asked for."""
        return (3, *size)


def _pictures(files: PublicFiles) -> tuple[Pictures, LocalFile | None]:
    """Finds or downloads the pictures, and the archive that they are in, if they are in one."""
    for folder in files.folders:
        for place, below in ((folder / FOLDER, True), (folder, False)):
            names = picture_names(place, below=below)
            if names:
                log.info("%d of CelebA's 202599 pictures found in %s", len(names), place)
                return Pictures.of_folder(place, names), None
    found = files.find(ARCHIVE)
    if found is None:
        found = files.fetch(ARCHIVE, otherwise=f", or put the pictures into the folder {files.home / FOLDER}")
        # With the archive or never: the splits must not depend on the network of the moment.
        files.fetch(PARTITION, _as_csv(PARTITION))
    try:
        archive = zipfile.ZipFile(found.path)
    except (OSError, zipfile.BadZipFile) as error:
        raise found.error(f"is no zip archive ({error})") from error
    names = sorted(name for name in archive.namelist() if is_picture(name.rsplit("/", 1)[-1]))
    if not names:
        raise found.error("has no pictures in it")
    return Pictures(names, lambda name: io.BytesIO(archive.read(name)), str(found.path)), found


def _split(files: PublicFiles, stems: list[str], split: Literal["train", "test"], holdout: float) -> Int[Tensor, " N"]:
    """Tells which of the pictures are in a split: by the official partition, or held out."""
    level = logging.WARNING if split == "train" else logging.DEBUG  # both splits are opened as a rule; once is enough
    partition = files.find(PARTITION, _as_csv(PARTITION))
    if partition is None:
        text = "%g of the pictures are held out for testing; for the official splits put %s into %s"
        log.log(level, text, holdout, PARTITION.name, files.home)
        return hold_out(len(stems), holdout)[split]
    _, table = _table(partition)
    parts = torch.tensor([table.get(stem, [-1])[0] for stem in stems])
    if any(not (parts == number).any() for number in OFFICIAL.values()):
        text = "%s leaves a split of these %d pictures empty, so %g of them are held out for testing instead"
        log.log(level, text, partition.path, len(stems), holdout)
        return hold_out(len(stems), holdout)[split]
    if (parts < 0).any():
        log.log(level, "%d pictures are not in %s, and stay unused", int((parts < 0).sum()), partition.path)
    return (parts == OFFICIAL[split]).nonzero()[:, 0]


def _attribute(files: PublicFiles, stems: list[str], attribute: str) -> Int[Tensor, " N"]:
    attributes = files.fetch(ATTRIBUTES, _as_csv(ATTRIBUTES))
    columns, table = _table(attributes)
    if attribute not in columns:
        raise DataError(f"{attributes.path} has no attribute '{attribute}'; {suggestion(attribute, columns)}")
    missing = [stem for stem in stems if stem not in table]
    if missing:
        raise DataError(
            f"{attributes.path} does not list {len(missing)} of the pictures, such as {missing[0]}; leave the option attribute out"
        )
    column = columns.index(attribute)
    return torch.tensor([int(table[stem][column] > 0) for stem in stems])


def _as_csv(official: OfficialFile) -> str:
    return official.name.replace(".txt", ".csv")


def _table(file: LocalFile) -> tuple[list[str], dict[str, list[int]]]:
    """Reads a list of the data set: names of the columns, and the numbers of each picture, by the stem of its file's name."""
    columns: list[str] = []
    rows: dict[str, list[int]] = {}
    try:
        for line in file.path.read_text(encoding="utf-8").splitlines():
            first, *rest = line.replace(",", " ").split() or [""]
            if is_picture(first):
                rows[Path(first).stem] = [int(value) for value in rest]
            elif rest:
                columns = rest if first == "image_id" else [first, *rest]
        if not rows or any(len(row) != max(len(columns), 1) for row in rows.values()):
            raise ValueError("wanted are a name and a number for each column in each line")
    except ValueError as error:
        raise file.error(f"is no list of pictures ({error})") from error
    return columns, rows
