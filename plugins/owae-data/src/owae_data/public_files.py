"""Files of public data sets: found where a person put them or downloaded, checked, and converted once into an array of bytes.

A download goes on where it was broken off, and nothing gets its final name before its checksum is right. Whatever goes wrong, the
message says which file to put where by hand.
"""

from __future__ import annotations

import codecs
import hashlib
import http.client
import importlib.util
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from owae.errors import DataError
from owae_data.base import quiet
from owae_data.cache import ROOT, ArrayCache, Decoder, data_root, fingerprint, locked, writable_root
from owae_data.progress import progress

CHUNK = 1 << 20
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfficialFile:
    """A file of a public data set, as its makers publish it.

    Attributes:
        name: Its name.
        md5: Its checksum.
        page: Where a person finds it.
        urls: Where it can be had, in the order to try.
        drive: Its number on Google Drive, if it is there.
    """

    name: str
    md5: str
    page: str
    urls: tuple[str, ...] = ()
    drive: str | None = None


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine that stands for an official one."""

    path: Path
    official: OfficialFile

    def error(self, reason: str) -> DataError:
        """Makes the error about a file that is not what its name says."""
        page = " (it is a web page, such as a server sends instead of a file that it will not give)" if _is_page(self.path) else ""
        return DataError(
            f"{self.path} {reason}{page}; remove it, get the file by hand from {self.official.page} and put it there"
            + ("" if page else "; verify = false takes files of your own")
        )


@dataclass(frozen=True)
class Labelled:
    """What is in the files of a part of a set.

    Attributes:
        decoder: Decodes its pictures.
        labels: The class of each.
        classes: Names of the classes, where the files or the set's makers name them.
    """

    decoder: Decoder
    labels: Int[np.ndarray, " N"]
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Converted:
    """A part of a set, decoded: pictures, the class of each, and names of the classes."""

    examples: UInt8[Tensor, "N C H W"]
    labels: Int[Tensor, " N"]
    classes: tuple[str, ...] | None


class PublicFiles:
    """The files of one public data set: in its folder, or in places beside it where they may lie already.

    Args:
        name: Of the data set.
        folder: Its folder in the data folder; called as the set is unless given.
        root: The data folder; by default that of `owae_data.cache.data_root`.
        elsewhere: Other folders below `root` where other programs put the files.
        download: Whether files that are missing may be downloaded.
        verify: Whether files must have the official checksum.

    Attributes:
        folders: Where files are looked for.
        home: The first of them, where downloads go.
    """

    def __init__(
        self, name: str, root: Path | None, *elsewhere: str, folder: str | None = None, download: bool, verify: bool
    ) -> None:
        base = data_root(root)
        self.name = name
        self.folders = [base / (folder or name), *(base / other for other in elsewhere), base]
        self.home = self.folders[0]
        self.download = download
        self.verify = verify
        self._root = root

    def find(self, official: OfficialFile, *names: str) -> LocalFile | None:
        """Looks for a file under its own name or one of others."""
        for folder in self.folders:
            for name in (official.name, *names):
                if (folder / name).is_file():
                    return LocalFile(folder / name, official)
        return None

    def fetch(self, official: OfficialFile, *names: str, otherwise: str = "") -> LocalFile:
        """Looks for a file as `find` does, and downloads it where there is none.

        Args:
            official: The file.
            names: Other names under which it may lie about.
            otherwise: What else would do than the file itself, for messages.

        Raises:
            DataError: It is nowhere, and cannot be downloaded.
        """
        found = self.find(official, *names)
        if found is not None:
            return found
        if not self.download:
            folders = ", ".join(map(str, self.folders))
            raise self._missing(official, f"is in none of {folders}, and download = false", otherwise)
        with locked(self.home / official.name):
            # Another process may have been faster.
            return self.find(official, *names) or self._download(official, otherwise)

    def check(self, *files: LocalFile) -> None:
        """Refuses files that have not the official checksum, unless that was not wanted.

        A file under another name than the official one (unpacked, say) has no official checksum.

        Raises:
            DataError: One has not.
        """
        for file in files:
            if self.verify and file.path.name == file.official.name:
                found = _md5(file.path)
                if found != file.official.md5:
                    raise file.error(f"has MD5 {found}, not {file.official.md5}")

    def cache(self, files: Iterable[tuple[str, Path]], **options: Any) -> ArrayCache:
        """Says where the bytes that are made of files by options are kept."""
        return ArrayCache(writable_root(self._root), self.name, {**options, "files": fingerprint(files), "verify": self.verify})

    def convert(self, *files: LocalFile, decode: Callable[[], Labelled], **key: Any) -> Converted:
        """Converts files once: what they hold comes from the cache, or they are checked, decoded and put there.

        Args:
            files: What the bytes are made of.
            decode: Reads them; called where there is something to decode.
            key: What else the bytes depend on.

        Raises:
            DataError: A file is not the official one.
        """
        cached = self.cache(((file.path.name, file.path) for file in files), **key)
        examples = cached.load()
        if examples is not None:
            notes = cached.notes()
            classes = notes["classes"]
            return Converted(examples, torch.tensor(notes["labels"]), None if classes is None else tuple(classes))
        self.check(*files)
        found = decode()
        notes = {"labels": found.labels.tolist(), "classes": found.classes}
        examples = cached.make(replace(found.decoder, notes=lambda: notes))
        return Converted(examples, torch.from_numpy(found.labels.astype(np.int64)), found.classes)

    def _download(self, official: OfficialFile, otherwise: str) -> LocalFile:
        path, part = self.home / official.name, self.home / f"{official.name}.part"
        failures = []
        for title, fetch in _ways(official):
            try:
                self.home.mkdir(parents=True, exist_ok=True)
                log.info("downloading %s from %s", official.name, title)
                fetch(part)
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                failures.append(f"{title}: {error}")
                continue
            found = _md5(part)
            if found == official.md5:
                return LocalFile(part.replace(path), official)
            what = "a web page" if _is_page(part) else f"a file with MD5 {found}, not {official.md5},"
            failures.append(f"{title}: {what} came instead")
            part.unlink()
        raise self._missing(official, "cannot be downloaded\n  " + "\n  ".join(failures), otherwise)

    def _missing(self, official: OfficialFile, reason: str, otherwise: str) -> DataError:
        return DataError(
            f"{self.name}: {official.name} {reason}\nGet it by hand from {official.page} and put it at {self.home / official.name} "
            f"(MD5 {official.md5}){otherwise}, or set root or {ROOT} to a folder that has it"
        )


def _ways(official: OfficialFile) -> list[tuple[str, Callable[[Path], object]]]:
    """Lists titles and functions that download a file, in the order to try."""
    urls = [*official.urls, *([] if official.drive is None else [DRIVE + official.drive])]
    ways: list[tuple[str, Callable[[Path], object]]] = [(url, lambda part, url=url: stream(url, part)) for url in urls]
    if official.drive is not None and importlib.util.find_spec("gdown") is not None:
        ways.append(("Google Drive by gdown", lambda part: _by_gdown(official, part)))
    return ways


def stream(url: str, part: Path) -> None:
    """Downloads to a file, going on after what it has already.

    Raises:
        OSError: There is no way to the server, it will not, or the connection was lost before the end.
    """
    start = part.stat().st_size if part.exists() else 0
    resume = {"Range": f"bytes={start}-"} if start else {}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "owae", **resume}), timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # there is nothing after what we have
            return
        raise
    with response:
        again = response.status == 206
        start = start if again else 0
        rest = int(response.headers.get("Content-Length") or 0)
        with part.open("ab" if again else "wb") as file, progress(part.stem, start + rest or None, in_bytes=True) as advance:
            advance(start)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                advance(len(chunk))
    came = part.stat().st_size - start
    if came < rest:
        raise OSError(f"the connection was lost after {came} of {rest} bytes; another try goes on from there")


def _by_gdown(official: OfficialFile, part: Path) -> None:
    with quiet():
        import gdown  # pyright: ignore[reportMissingImports] # an extra

        try:
            gdown.download(id=official.drive, output=str(part))
        except Exception as error:  # gdown has errors of its own
            raise RuntimeError(str(error)) from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return start.startswith((b"<!doctype", b"<!--", b"<html", b"<head", b"<?xml"))
