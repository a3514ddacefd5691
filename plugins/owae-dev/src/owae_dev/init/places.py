"""Finds the data source for a path or a name: the table [data] of a config."""

from __future__ import annotations

import glob
import inspect
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from owae.errors import DataError, PluginError, nearest
from owae.files import expanded
from owae.registry.registry import Registry
from owae_dev.init.pictures import picture_options

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
TABLES = {".parquet", ".pq", ".arrow", ".feather", ".ipc", ".csv", ".tsv"}
PACKED = {".gz", ".bz2", ".zst"}  # of text tables
PARTED = {**dict.fromkeys(TABLES, "table"), ".tar": "shards"}  # what several files together are
KINDS = {".npy": "arrays", ".npz": "arrays", ".h5ad": "h5ad", **PARTED}
HOMES = {"h5ad": "owae-anndata", "table": "'owae-data[table]'"}  # which distribution brings a source; owae-data else
MOST = 1_000_000  # files listed in a folder


@dataclass(frozen=True)
class Place:
    """Where data were found.

    Attributes:
        name: What the config, and so the run, is called after.
        data: The table [data]; paths are absolute.
        found: What was seen, a line each.
    """

    name: str
    data: dict[str, Any]
    found: list[str] = field(default_factory=list)


def find(place: str, registry: Registry) -> Place:
    """Returns the source for a path, or else for the name of a set.

    Raises:
        DataError: There is neither, or nothing in it that a source reads.
        PluginError: The source's plugin is not installed.
    """
    path = expanded(place).absolute()
    if path.exists():
        return _of_folder(path, registry) if path.is_dir() else _of_file(path, registry)
    pattern = path.with_name(re.sub(r"\{\d+\.\.\d+\}", "*", path.name))  # as faces-{000..099}.tar
    if glob.has_magic(str(pattern)) and (files := sorted(pattern.parent.glob(pattern.name))):
        return _of_pattern(path, files, registry)
    return _of_name(place, registry)


def _of_file(path: Path, registry: Registry) -> Place:
    kind = KINDS.get(_suffix(path)) or _by_content(path)
    if kind is None and path.suffix.lower() in PICTURES:
        raise DataError(f"{path} is one picture; the folder of many would work")
    if kind is None and path.suffix.lower() == ".toml":
        raise DataError(f"{path} is a config already; owae train takes it")
    if kind is None:
        raise DataError(f"{path}: a file ending in '{path.suffix}' is read by no source; {_readable()} would work")
    name = path.name[: -len(_ending(path))] if _ending(path) else path.name
    return Place(
        name or "data", {"kind": _installed(kind, registry), "path": str(path)}, [f"{path} is read by the source '{kind}'"]
    )


def _of_pattern(path: Path, files: list[Path], registry: Registry) -> Place:
    """The source for the files that a pattern fits: parts of a table, or tar files."""
    kinds = {PARTED.get(_suffix(file)) for file in files}
    if len(kinds) > 1 or None in kinds:
        odd = next((file for file in files if _suffix(file) not in PARTED), files[-1])
        raise DataError(
            f"the pattern {path} fits {odd.name} too, which is no part of one set; patterns of one kind would work: tables "
            f"({', '.join(sorted(TABLES))}) or .tar"
        )
    kind = str(kinds.pop())
    name = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or path.parent.name
    return Place(
        name, {"kind": _installed(kind, registry), "path": str(path)}, [f"{len(files):,} files fit {path}; {_parted(kind)}"]
    )


def _parted(kind: str) -> str:
    return "a table in parts" if kind == "table" else "pictures in tar files"


def _ending(path: Path) -> str:
    """What a file's name ends in; two endings where a text table is packed."""
    packed = path.suffix.lower() in PACKED and path.with_suffix("").suffix.lower() in (".csv", ".tsv")
    return "".join(path.suffixes[-2:]) if packed else path.suffix


def _suffix(path: Path) -> str:
    return f".{_ending(path).lower().split('.')[1]}" if _ending(path) else ""


def _by_content(path: Path) -> str | None:
    with path.open("rb") as file:
        return "arrays" if file.read(6) == b"\x93NUMPY" else None


def _of_folder(path: Path, registry: Registry) -> Place:
    if (idx := _of_idx(path, registry)) is not None:
        return idx
    counts = Counter(suffix for _, suffix in _files(path))
    name = path.resolve().name or "data"
    pictures = sum(counts[suffix] for suffix in PICTURES)
    if pictures:
        options, found = picture_options([file for file, suffix in _files(path) if suffix in PICTURES])
        data = {"kind": _installed("image-folder", registry), "path": str(path), **options}
        others = sum(counts.values()) - pictures
        return Place(name, data, [f"{path} holds {pictures:,} pictures" + (f"; other files: {others:,}" if others else ""), *found])
    single = [file for file, suffix in _files(path) if suffix in KINDS]
    if len(single) == 1:
        return _of_file(single[0], registry)
    if len(parted := {PARTED.get(_suffix(file)) for file in single}) == 1 and (kind := parted.pop()) is not None:
        data = {"kind": _installed(kind, registry), "path": str(path)}
        return Place(name, data, [f"{path} holds {len(single):,} files: {_parted(kind)}"])
    if single and {_suffix(file) for file in single} == {".npy"}:
        options, found = picture_options(single)
        data = {"kind": _installed("image-folder", registry), "path": str(path), **options}
        return Place(name, data, [f"{path} holds {len(single):,} arrays, taken for pictures", *found])
    seen = ", ".join(f"{count:,} '{suffix or 'without a suffix'}'" for suffix, count in counts.most_common(5)) or "nothing"
    raise DataError(f"{path} holds {seen}; a folder of pictures would work, or {_readable()}")


def _of_idx(path: Path, registry: Registry) -> Place | None:
    """The source for files in MNIST's format, by the folder that torchvision puts them into; None where there are none."""
    found = next(
        (file for file, _ in _files(path) if file.name.replace(".idx", "-idx").startswith("train-images-idx3-ubyte")), None
    )
    if found is None:
        return None
    # As torchvision lays them out: root/NAME/raw/file. Of the folder itself its own name tells, wherever it is.
    named = found.parent.parent if found.parent.name == "raw" else found.parent
    if named.name in vision_sets() and named.name != "MNIST" and found.parent.name == "raw":
        data = {"kind": _installed("torchvision", registry), "name": named.name, "root": str(named.parent)}
        return Place(named.name, data, [f"{path} holds {named.name} as torchvision lays it out"])
    root = named.parent if found.parent.name == "raw" and named.name == "MNIST" else found.parent
    return Place(named.name, {"kind": _installed("mnist", registry), "root": str(root)}, [f"{path} holds files in MNIST's format"])


def vision_sets() -> list[str]:
    """Names of torchvision's sets; none where it is not installed."""
    try:
        from torchvision import datasets
    except ImportError:
        return []
    return list(datasets.__all__)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Lists files and their suffixes, but for hidden ones, in sorted order."""
    count = 0
    for at, folders, files in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                count += 1
                if count > MOST:
                    return
                yield Path(at, name), _suffix(Path(name))


def _of_name(name: str, registry: Registry) -> Place:
    kinds = registry.names("data")
    if name not in kinds:
        sets = vision_sets() if "torchvision" in kinds else []
        if name in sets:
            return Place(name, {"kind": "torchvision", "name": name}, [f"'{name}' is the name of a set of torchvision's"])
        # The hub's names begin with letters or digits; in a folder that is here, a path was meant.
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) and "hub" in kinds and not Path(name).parent.is_dir():
            return Place(
                name.partition("/")[2],
                {"kind": "hub", "name": name},
                [f"'{name}' is taken for the name of a set of the Hugging Face hub"],
            )
        close = nearest(name, [*kinds, *sets])
        hint = f"; did you mean '{close}'?" if close else "."
        if "torchvision" in kinds and not sets:
            hint += " Sets by torchvision's names need torchvision, which cannot be imported: pip install torchvision brings it."
        ready = ", ".join(kind for kind in kinds if not _needs(registry.get("data", kind)))
        raise DataError(f"there is no file or folder '{name}', and no set of that name{hint} Sets that need no path: {ready}")
    needed = _needs(registry.get("data", name))
    if needed:
        raise DataError(f"the source '{name}' needs {', '.join(needed)}; a path to the data would work in place of its name")
    return Place(name, {"kind": name}, [f"'{name}' is the name of a source"])


def _needs(source: type) -> list[str]:
    """The options of a source that have no default."""
    constructor: Callable[..., Any] = source.__init__
    parameters = inspect.signature(constructor).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]


def _installed(kind: str, registry: Registry) -> str:
    if kind not in registry.names("data"):
        home = HOMES.get(kind, "owae-data")
        raise PluginError(f"the source '{kind}', which reads this, is not installed; pip install {home} brings it")
    return kind


def _readable() -> str:
    return f"a file of {', '.join(sorted(KINDS))}"
