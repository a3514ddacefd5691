"""Finds the pictures in tar files once: where each begins, how long and of what size it is, and its label.

A sample is what lies side by side under one name up to its first dot, as webdataset has it: `0001.jpg` and `0001.cls`. The index of a
file is kept in the data folder under what the file is known by, so an interrupted indexing goes on with the next file.
"""

from __future__ import annotations

import contextlib
import logging
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from owae.errors import DataError
from owae.files import replace_durably, temporary_for
from owae_data.cache import ArrayCache, fingerprint, locked
from owae_data.pictures import SUFFIXES, Form, has_further, opened_picture, survey
from owae_data.progress import progress

VERSION = 2
COLUMNS = (
    "offset",
    "size",
    "label",
    "channels",
    "height",
    "width",
    "further",
)  # the last: 1 where a file has further pages or frames
NONE = -1  # of a label that is not there
BROKEN = 0  # the height of a picture that cannot be read

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Index:
    """Where pictures are.

    Attributes:
        paths: The tar files.
        shard: The number of the file that each picture is in, (N,).
        table: A row of `COLUMNS` for each, (N, 7).
    """

    paths: list[Path]
    shard: np.ndarray
    table: np.ndarray

    def column(self, name: str) -> np.ndarray:
        return self.table[:, COLUMNS.index(name)]


def tar_files(path: Path) -> list[Path]:
    """Lists the tar files that a path stands for, in order: a folder's and those below, a file, `*` and `?`, or a range as `{000..099}`.

    Raises:
        DataError: There is none, or one of a range is missing.
    """
    if path.is_dir():
        found = sorted(one for one in path.rglob("*.tar") if not one.name.startswith("."))
    elif ranges := re.search(r"\{(\d+)\.\.(\d+)\}", str(path)):
        first, last = ranges.groups()
        before, after = str(path)[: ranges.start()], str(path)[ranges.end() :]
        found = [one for n in range(int(first), int(last) + 1) for one in tar_files(Path(f"{before}{n:0{len(first)}d}{after}"))]
    elif any(sign in path.name for sign in "*?["):
        found = sorted(path.parent.glob(path.name))
    else:
        found = [path]
    missing = [one for one in found if not one.is_file()]
    if missing or not found:
        one = missing[0] if missing else path
        raise DataError(f"{one}: no such tar file; a folder of .tar files, one file, a pattern or a range would work")
    return found


def indexed(paths: Sequence[Path], root: Path, image: str | None, label: str | None) -> Index:
    """Returns the index of tar files, made where it is not kept yet.

    Args:
        paths: The files.
        root: The data folder.
        image: The ending of pictures' names; that of any picture unless given.
        label: The ending of the members that hold labels; None for no labels.

    Raises:
        DataError: A file is no tar file, is compressed, or holds two pictures of one name; a label is no whole number.
    """
    tables = []
    with progress("looking into tar files", len(paths)) as advance:
        for path in paths:
            tables.append(_kept(path, root, image, label))
            advance(1)
    shard = np.repeat(np.arange(len(paths), dtype=np.int32), [len(table) for table in tables])
    return Index(list(paths), shard, np.concatenate(tables))


def _kept(path: Path, root: Path, image: str | None, label: str | None) -> np.ndarray:
    key = {"file": fingerprint([(str(path), path)]), "image": image, "label": label, "index": VERSION}
    home = ArrayCache(root, "shards", key).path
    home = home.parent.parent / "indexes" / home.name
    with locked(home):
        if home.is_file():
            with contextlib.suppress(ValueError, OSError, EOFError):
                return np.load(home, allow_pickle=False)
        table = np.array(list(_members(path, image, label)), dtype=np.int64).reshape(-1, len(COLUMNS))
        temporary = temporary_for(home)
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, table, allow_pickle=False)
            replace_durably(temporary, home)
        except OSError as error:
            log.warning("the index of %s cannot be kept (%s) and is made at every start", path, error)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return table


def _members(path: Path, image: str | None, label: str | None) -> Iterator[tuple[int, ...]]:
    """Yields a row for each picture of a file."""
    try:
        with tarfile.open(path, "r:") as tar:
            for key, members in _samples(tar):
                pictures = [name for name in members if (name == image if image else Path(f"x.{name}").suffix.lower() in SUFFIXES)]
                if len(pictures) > 1:
                    raise DataError(
                        f"{path}: {key} has pictures {', '.join(pictures)}; set image to the ending of those that are meant"
                    )
                if pictures:
                    member = members[pictures[0]]
                    number = NONE if label is None or label not in members else _label(tar, members[label], path)
                    yield member.offset_data, member.size, number, *_look(tar, member)
    except tarfile.ReadError as error:
        with path.open("rb") as file:
            packed = file.read(6)
        hint = (
            "it is compressed: unpack it, for only then can pictures be read by their place" if _is_packed(packed) else str(error)
        )
        raise DataError(f"{path} cannot be read as a tar file: {hint}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yields the members of each sample, by their endings."""
    last, members = "", {}
    while (member := tar.next()) is not None:
        tar.members = []  # pyright: ignore[reportAttributeAccessIssue] # or it keeps all, a kilobyte each
        if not member.isreg() or Path(member.name).name.startswith("."):
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        key = f"{folder}/{stem}"
        if key != last and members:
            yield last, members
            members = {}
        last, members[ending] = key, member
    if members:
        yield last, members
    file: Any = tar.fileobj
    file.seek(tar.offset)
    if any(file.read(512)):  # neither the zeros that end a tar file nor nothing: what tarfile takes for the end
        raise tarfile.ReadError(f"unexpected end of data at byte {tar.offset}")


def _look(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[int, int, int, bool]:
    """Returns channels, height and width of a picture, and whether its file has further pages or frames."""
    with _kept_place(tar):
        try:
            with opened_picture(tar.extractfile(member)) as opened:
                further = has_further(opened)
                return *survey(opened, Form()), further
        except Exception:  # a damaged picture can lead Pillow into any error
            return BROKEN, BROKEN, BROKEN, False


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    with _kept_place(tar):
        file = tar.extractfile(member)
        text = b"" if file is None else file.read(64)
    try:
        number = int(text)
        if not NONE <= number < 2**31:
            raise ValueError(number)
    except ValueError as error:
        raise DataError(
            f"{path}: {member.name} holds {text[:20]!r}, and labels are whole numbers from 0; labels = false leaves them out"
        ) from error
    return number


@contextlib.contextmanager
def _kept_place(tar: tarfile.TarFile) -> Iterator[None]:
    file: Any = tar.fileobj
    at = file.tell()
    try:
        yield
    finally:
        file.seek(at)


def _is_packed(head: bytes) -> bool:
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
