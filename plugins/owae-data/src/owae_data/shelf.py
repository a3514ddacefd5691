"""Files of public data sets: found where a person put them, or downloaded, and checked against what they should be.

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from owae.errors import DataError
from owae_data.base import quiet
from owae_data.progress import progress
from owae_data.store import ROOT, data_root, exclusive

CHUNK = 1 << 20
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded.

    Attributes:
        name: Its name.
        md5: Its checksum.
        urls: Where it can be had, in the order to try.
        drive: Its number on Google Drive, if it is there.
        page: Where a person finds it.
        else_put: What else would do than the file itself, for messages.
    """

    name: str
    md5: str
    page: str
    urls: tuple[str, ...] = ()
    drive: str | None = None
    else_put: str = ""


class Shelf:
    """The folder of one data set, and the places beside it where its files may lie already.

    Args:
        name: Of the data set, and of its folder in the data folder.
        root: The data folder; by default that of `owae_data.store.data_root`.
        elsewhere: Other folders below `root` where other programs put the files.
        download: Whether files that are missing may be downloaded.
        verify: Whether files must have the official checksum.

    Attributes:
        folders: Where files are looked for; downloads go to the first.
    """

    def __init__(self, name: str, root: Path | None, *elsewhere: str, download: bool, verify: bool) -> None:
        base = data_root(root)
        self.name = name
        self.folders = [base / name, *(base / other for other in elsewhere), base]
        self.download = download
        self.verify = verify

    @property
    def home(self) -> Path:
        """Where downloads go."""
        return self.folders[0]

    def find(self, *names: str) -> Path | None:
        """The file that bears one of these names, if there is one."""
        return next((folder / name for folder in self.folders for name in names if (folder / name).is_file()), None)

    def obtain(self, remote: Callable[[], Remote], *names: str) -> Path:
        """The file that bears one of these names, or else is downloaded under the first.

        Args:
            remote: Asked for only when it is needed, since those who know import torchvision.
            names: Under which the file may lie about.

        Raises:
            DataError: It is nowhere, and cannot be downloaded.
        """
        found = self.find(*names)
        if found is not None:
            return found
        wanted = remote()
        if not self.download:
            raise self._missing(wanted, "is in none of " + ", ".join(map(str, self.folders)) + ", and download = false")
        with exclusive(self.home / wanted.name):
            return self.find(*names) or self._downloaded(wanted)

    def check(self, path: Path, remote: Callable[[], Remote]) -> None:
        """Refuse a file that has not the official checksum, unless that was not wanted.

        Raises:
            DataError: It has not.
        """
        if self.verify:
            found = _md5(path)
            if found != remote().md5:
                raise self.unfit(path, remote, f"has MD5 {found}, not {remote().md5}")

    def unfit(self, path: Path, remote: Callable[[], Remote], reason: str) -> DataError:
        """The error about a file that is not what its name says."""
        page = " (it is a web page, such as a server sends instead of a file that it will not give)" if _is_page(path) else ""
        return DataError(
            f"{path} {reason}{page}; remove it, get the file by hand from {remote().page} and put it there"
            + ("" if page else "; verify = false takes files of your own")
        )

    def _downloaded(self, remote: Remote) -> Path:
        path, part = self.home / remote.name, self.home / f"{remote.name}.part"
        failures = []
        for title, fetch in _ways(remote):
            try:
                self.home.mkdir(parents=True, exist_ok=True)
                log.info("downloading %s from %s", remote.name, title)
                fetch(part)
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                failures.append(f"{title}: {error}")
                continue
            found = _md5(part)
            if found == remote.md5:
                return part.replace(path)
            what = "a web page" if _is_page(part) else f"a file with MD5 {found}, not {remote.md5},"
            failures.append(f"{title}: {what} came instead")
            part.unlink()
        raise self._missing(remote, "cannot be downloaded\n  " + "\n  ".join(failures))

    def _missing(self, remote: Remote, reason: str) -> DataError:
        return DataError(
            f"{self.name}: {remote.name} {reason}\nGet it by hand from {remote.page} and put it at {self.home / remote.name} "
            f"(MD5 {remote.md5}){remote.else_put}, or set root or {ROOT} to a folder that has it"
        )


def _ways(remote: Remote) -> list[tuple[str, Callable[[Path], object]]]:
    ways: list[tuple[str, Callable[[Path], object]]] = [(url, lambda part, url=url: stream(url, part)) for url in remote.urls]
    if remote.drive is not None:
        url = DRIVE + remote.drive
        ways.append((url, lambda part: stream(url, part)))
        if importlib.util.find_spec("gdown") is not None:
            ways.append(("Google Drive by gdown", lambda part: _by_gdown(remote, part)))
    return ways


def stream(url: str, part: Path) -> None:
    """Download to a file, going on after what it has already.

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


def _by_gdown(remote: Remote, part: Path) -> None:
    with quiet():
        from torchvision.datasets.utils import download_file_from_google_drive

        try:
            download_file_from_google_drive(str(remote.drive), part.parent, part.name)
        except Exception as error:  # gdown has errors of its own
            raise RuntimeError(str(error)) from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return start.startswith((b"<!doctype", b"<!--", b"<html", b"<head", b"<?xml"))
