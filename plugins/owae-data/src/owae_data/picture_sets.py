"""Makes one tensor of bytes of many pictures: in memory where they are few, through a file that is built once where they are many."""

from __future__ import annotations

import logging
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import UnidentifiedImageError
from torch import Tensor

from owae.errors import DataError
from owae_data import base
from owae_data.cache import ArrayCache, Block, Decoder
from owae_data.pictures import SUFFIXES, Form, Source, has_further, opened_picture, read, regular, survey
from owae_data.progress import progress

RUN = 512  # pictures decoded between two writes
LISTED = 10  # files that a message names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """A set of picture files.

    Attributes:
        names: Their names, in order.
        open: What Pillow is given for a name: a path, or a stream out of an archive.
        place: How messages name the set.
    """

    names: list[str]
    open: Callable[[str], Source]
    place: str

    @classmethod
    def of_folder(cls, folder: Path, names: list[str]) -> Pictures:
        """Those that lie in a folder under these names, relative to it."""
        return cls(names, lambda name: regular(folder / name), str(folder))


def picture_names(folder: Path, *, below: bool = True, also: tuple[str, ...] = ()) -> list[str]:
    """Lists the picture files in a folder, by their suffix, as sorted paths relative to it with forward slashes; none that is hidden.

    A link that leads nowhere and has no suffix is among them: it may have been one to a folder of pictures, which are missing now.

    Args:
        folder: Where to look; nothing is found where there is none.
        below: Whether to look into sub-folders, links to folders included.
        also: Other suffixes that count.

    Raises:
        DataError: A folder in it cannot be listed.
    """
    return sorted(path.relative_to(folder).as_posix() for path in _walk(folder, below, also))


def _walk(folder: Path, below: bool, also: tuple[str, ...]) -> Iterator[Path]:
    seen: set[str] = set()
    for at, folders, files in os.walk(folder, onerror=_unlisted, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if below and not name.startswith(".")]
        yield from (Path(at, name) for name in files if is_picture(name, also) or _leads_nowhere(Path(at, name)))


def _unlisted(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"the folder {error.filename} cannot be listed ({error.strerror})") from error


def _leads_nowhere(path: Path) -> bool:
    return not path.suffix and not path.name.startswith(".") and path.is_symlink() and not path.exists()


def is_picture(name: str, also: tuple[str, ...] = ()) -> bool:
    """Tells whether a file's name is that of a picture, and it is not hidden."""
    return not name.startswith(".") and Path(name).suffix.lower() in (*SUFFIXES, *also)


class Album:
    """Holds the pictures of a set, decoded.

    Attributes:
        examples: One row for each name; blank for those that could not be read.
        good: Which rows could be read.
    """

    def __init__(self, examples: UInt8[Tensor, "N C H W"], good: Bool[Tensor, " N"]) -> None:
        self.examples = examples
        self.good = good


# The train and the test split are views of one album: whoever opens the second while the first lives need not decode again.
_open_albums: weakref.WeakValueDictionary[str, Album] = weakref.WeakValueDictionary()


def decode(pictures: Pictures, form: Form, cached: ArrayCache, *, skip_broken: bool, keep: bool = False) -> Album:
    """Decodes pictures into one form, or finds them decoded.

    Args:
        pictures: The set.
        form: What each becomes; what it leaves open is taken from the pictures.
        cached: Where decoded bytes are looked for, and kept if they are many.
        skip_broken: Whether pictures that cannot be read are left out, and logged, instead of refused.
        keep: Whether to keep even a few.

    Raises:
        DataError: Pictures cannot be read, or differ in size though `form` gives none; the message names up to ten.
    """
    album = _open_albums.get(str(cached.path))
    if album is None:
        examples = cached.load()
        if examples is None:
            examples, broken = _decode(pictures, form, cached, keep)
        else:
            broken = cached.notes()["broken"]
        if broken:
            report(broken, pictures, skip_broken and len(broken) < len(pictures.names))
        album = Album(examples, torch.tensor([name not in broken for name in pictures.names]))
        _open_albums[str(cached.path)] = album
    elif not skip_broken and not album.good.all():
        bad = [name for name, good in zip(pictures.names, album.good.tolist(), strict=True) if not good]
        report(dict.fromkeys(bad, "cannot be read"), pictures, skip_broken)
    return album


def _decode(pictures: Pictures, form: Form, cached: ArrayCache, keep: bool) -> tuple[Tensor, dict[str, str]]:
    shape, broken = _common_shape(pictures, form)
    form = replace(form, channels=shape[0])

    def blocks(start: int = 0, notes: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Block]:
        broken.update(notes.get("broken", {}))
        return _blocks(pictures, form, shape, broken, start)

    decoder = Decoder((len(pictures.names), *shape), blocks, lambda: {"broken": broken}, blocks)
    if keep or prod(decoder.shape) > base.LARGE:
        examples = cached.make(decoder)
        return examples, cached.notes()["broken"] if cached.path.is_file() else broken
    return decoder.in_memory(), broken


def _common_shape(pictures: Pictures, form: Form) -> tuple[tuple[int, int, int], dict[str, str]]:
    """The shape of all pictures, and those of which not even that can be told."""

    def look(source: Source) -> tuple[tuple[int, int, int], bool]:
        with opened_picture(source) as opened:
            further = has_further(opened)  # asked of a picture that is not loaded yet
            return survey(opened, form), further

    found: list[tuple[tuple[int, int, int], bool] | Exception] = []
    for run in _attempts(look, pictures, "looking at pictures"):
        found += run
    broken = {name: _reason(one) for name, one in zip(pictures.names, found, strict=True) if isinstance(one, Exception)}
    seen = {name: one for name, one in zip(pictures.names, found, strict=True) if not isinstance(one, Exception)}
    shapes = {name: shape for name, (shape, _) in seen.items()}
    if several := [name for name, (_, more) in seen.items() if more]:
        text = "%s: %d of %d files hold further pages or frames, and the first of each is read: %s"
        log.info(text, pictures.place, len(several), len(pictures.names), _list(several, ", "))
    if not shapes:
        report(broken, pictures, skip_broken=False)
    sizes = Counter((height, width) for _, height, width in shapes.values())
    (height, width), most = sizes.most_common(1)[0]
    if form.size is None and len(sizes) > 1:
        odd = [f"{name} ({h}x{w})" for name, (_, h, w) in shapes.items() if (h, w) != (height, width)]
        raise DataError(
            f"{pictures.place}: pictures differ in size (height x width): {most} are {height}x{width}, but not "
            f"{_list(odd, ', ')}; set size = [{height}, {width}], or another, to resize them all"
        )
    return (max(channels for channels, _, _ in shapes.values()), *(form.size or (height, width))), broken


def _blocks(pictures: Pictures, form: Form, shape: tuple[int, int, int], broken: dict[str, str], start: int) -> Iterator[Block]:
    """Pictures from one on, in runs, with those that cannot be read left blank and added to `broken`."""
    names = iter(pictures.names[start:])
    for run in _attempts(lambda source: read(source, form), pictures, "decoding pictures", start):
        block = np.zeros((len(run), *shape), np.uint8)
        for row, (one, name) in enumerate(zip(run, names, strict=False)):  # names last, or the end of a run would take one too many
            if isinstance(one, Exception):
                broken.setdefault(name, _reason(one))
            elif one.shape != shape:
                broken.setdefault(name, f"decodes to {one.shape}, not {shape} as it says")
            elif name not in broken:
                block[row] = one
        yield block


def _attempts(function: Callable[[Source], Any], pictures: Pictures, title: str, start: int = 0) -> Iterator[list[Any]]:
    """Yields what the function makes of each picture from one on, or the exception that it raised, in runs; by several threads."""

    def attempt(name: str) -> Any:
        try:
            return function(pictures.open(name))
        except Exception as error:  # a damaged file can lead Pillow into any error
            return error

    threads = min(8, os.cpu_count() or 1)
    with base.quiet(), progress(title, len(pictures.names)) as advance, ThreadPoolExecutor(threads) as pool:
        advance(start)
        for at in range(start, len(pictures.names), RUN):
            run = list(pool.map(attempt, pictures.names[at : at + RUN]))
            advance(len(run))
            yield run


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no picture of a known format"
    return str(error) or type(error).__name__


def report(broken: dict[str, str], pictures: Pictures, skip_broken: bool) -> None:
    """Logs which pictures are broken, where they may be left out, and refuses them where not."""
    listed = _list([f"{name}: {reason}" for name, reason in broken.items()], "\n  ")
    text = f"{pictures.place}: {len(broken)} of {len(pictures.names)} pictures cannot be used"
    if not skip_broken:
        raise DataError(f"{text}; mend or remove them, or leave them out by skip_broken = true\n  {listed}")
    log.warning("%s and are left out\n  %s", text, listed)


def _list(items: list[str], separator: str) -> str:
    more = [] if len(items) <= LISTED else [f"and {len(items) - LISTED} more"]
    return separator.join(items[:LISTED] + more)
