"""Keeps downloads and decoded data in one folder: arrays that are built once, and written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from owae.errors import DataError
from owae.files import write_durably
from owae_data import base

ROOT = "OWAE_DATA"  # environment variable: the folder, instead of the user's cache folder

VERSION = 4  # of the decoders: another number makes all decoded files anew

SYNCED = 64 << 20  # bytes decoded between two moments from which an interrupted decoding can go on

Block = UInt8[np.ndarray, "B ..."]

log = logging.getLogger(__name__)


def data_root(root: Path | None = None) -> Path:
    """Returns the folder for data: the one given, else that in `OWAE_DATA`, else `owae` in the user's cache folder.

    Args:
        root: A folder that goes before the others.
    """
    if root is not None:
        return root.expanduser().absolute()
    if os.environ.get(ROOT):
        return Path(os.environ[ROOT]).expanduser().absolute()
    home = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "owae"


def writable_root(root: Path | None) -> Path:
    """Returns the folder for decoded data: as `data_root` unless that cannot be written to, and then as it is without a given `root`."""
    chosen = data_root(root)
    existing = next(folder for folder in (chosen, *chosen.parents) if folder.exists())
    return chosen if os.access(existing, os.W_OK) else data_root()


def fingerprint(files: Iterable[tuple[str, Path]]) -> str:
    """Hashes files by name, size and time of change, to tell an edited set from the one that was decoded; missing ones by name."""
    digest = hashlib.sha256()
    for name, path in files:
        try:
            stat = path.stat()
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogateescape"))
        except OSError:  # a link that leads nowhere
            digest.update(f"{name}\0\0\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def mapped(path: Path) -> Tensor:
    """Maps the array in a `.npy` file: pages are read when they are asked for, and are no memory of this process's own. Not to be written.

    The tensor's attribute `reopen` makes it anew, in another process too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of an array that cannot be written
        tensor = torch.from_numpy(np.load(path, allow_pickle=False, mmap_mode="r"))
    tensor.reopen = partial(mapped, path)  # pyright: ignore[reportAttributeAccessIssue] # read by StoredSource
    return tensor


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Runs the block in one process at a time for `path`, so that the ranks of a run do not download or decode the same twice.

    Where the system has no advisory locks, or the folder takes none, everybody enters, and is told so by False.
    """
    alone = False
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            path.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(path.with_name(f".{path.name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            alone = True
        yield alone


@dataclass(frozen=True)
class Decoder:
    """Decodes something into rows of bytes.

    Attributes:
        shape: Of all of it, (N, C, H, W).
        blocks: Yields its rows in order, some at a time.
        notes: What to set down beside it; asked for when the last row was yielded, and now and then before.
        resumed: Yields the rows from one on, given the notes of then; None where an interrupted decoding begins anew.
    """

    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[Block]]
    notes: Callable[[], Mapping[str, Any]] = dict
    resumed: Callable[[int, Mapping[str, Any]], Iterable[Block]] | None = None

    def in_memory(self) -> UInt8[Tensor, "N C H W"]:
        """Decodes all rows into one tensor."""
        rows = torch.empty(self.shape, dtype=torch.uint8)
        at = 0
        for block in self.checked():
            rows[at : at + len(block)] = torch.from_numpy(np.ascontiguousarray(block))
            at += len(block)
        return rows

    def checked(self, at: int = 0, notes: Mapping[str, Any] | None = None) -> Iterator[Block]:
        """Yields the rows from one on, and holds them to the dtype and the shape that was promised: what is written has no other check."""
        for block in self.blocks() if self.resumed is None or not at else self.resumed(at, notes or {}):
            at += len(block)
            if block.dtype != np.uint8 or block.shape[1:] != self.shape[1:] or at > self.shape[0]:
                raise TypeError(f"decoded to {block.dtype} {block.shape}, rows up to {at}; bytes {self.shape} were promised")
            yield block
        if at != self.shape[0]:
            raise TypeError(f"decoded {at} rows; {self.shape[0]} were promised")


class ArrayCache:
    """Keeps decoded bytes in a file of their own, under a name made of all that they depend on.

    Args:
        root: The data folder; the file is made in its sub-folder `decoded`.
        name: Of the source.
        key: What the bytes depend on: options, and the fingerprint of the files.
    """

    def __init__(self, root: Path, name: str, key: Mapping[str, Any]) -> None:
        self.key = {"version": VERSION, "source": name, **key}
        text = json.dumps(self.key, sort_keys=True, default=str)
        self.path = root / "decoded" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"

    def load(self) -> UInt8[Tensor, "N C H W"] | None:
        """Returns the bytes, mapped where they are large; None if they were not decoded yet, or what stands there is damaged."""
        if not self.path.is_file() or not self.path.with_suffix(".json").is_file():
            return None
        large = self.path.stat().st_size > base.LARGE
        try:
            return mapped(self.path) if large else torch.from_numpy(np.load(self.path, allow_pickle=False))
        except (ValueError, EOFError, OSError) as error:
            log.warning("%s cannot be read (%s) and is made anew", self.path, error)
            return None

    def notes(self) -> dict[str, Any]:
        """Returns what was set down beside the bytes."""
        return json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))

    def make(self, decoder: Decoder) -> UInt8[Tensor, "N C H W"]:
        """Decodes the bytes and keeps them in the file; if that cannot be written they are held in memory, unless they are large.

        Raises:
            DataError: They are large, and the disk is full or the folder cannot be written.
        """
        with locked(self.path) as alone:
            ready = self.load()  # another process may have been faster
            if ready is not None:
                return ready
            try:
                self._write(decoder, alone)
            except OSError as error:
                text = f"cannot write {prod(decoder.shape) / 1e9:.1f} GB of decoded data to {self.path.parent} ({error})"
                if prod(decoder.shape) > base.LARGE:
                    raise DataError(f"{text}; set {ROOT} to a folder with that much room") from error
                log.warning("%s; they are decoded at every start. Set %s to another folder", text, ROOT)
                return decoder.in_memory()
            made = self.load()
        if made is None:
            raise DataError(f"{self.path} was written, but cannot be read back; set {ROOT} to a folder on another disk")
        log.info("decoded data are kept in %s", self.path)
        return made

    def _write(self, decoder: Decoder, alone: bool) -> None:
        """Writes the file, going on after the rows that an interrupted process has written, where it has the lock and the decoder can."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for left in self.path.parent.glob(f".{self.path.stem}.*.part"):  # of processes that were killed, and had no lock
            left.unlink(missing_ok=True)
        part = self.path.with_name(f".{self.path.stem}.part" if alone else f".{self.path.stem}.{os.getpid()}.part")
        resumes, size, pause = alone and decoder.resumed is not None, prod(decoder.shape[1:]), part.with_suffix(".json")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": decoder.shape})
        begin = header.tell()
        done, notes = _paused(part, pause, begin, size) if resumes else (0, {})
        wanted, free = (decoder.shape[0] - done) * size, shutil.disk_usage(self.path.parent).free
        if wanted > free:
            raise OSError(errno.ENOSPC, f"{wanted / 1e9:.3g} GB more are needed, {free / 1e9:.3g} GB are free")
        if done:
            log.info("going on with %s after row %d of %d", self.path.name, done, decoder.shape[0])
        keep = False
        try:
            with part.open("r+b" if done else "wb") as file:
                if not done:
                    file.write(header.getvalue())
                file.seek(begin + done * size)
                file.truncate()
                unsynced = 0
                for block in decoder.checked(done, notes):
                    file.write(np.ascontiguousarray(block).data)
                    done, unsynced = done + len(block), unsynced + block.nbytes
                    if resumes and unsynced >= SYNCED:
                        file.flush()
                        os.fsync(file.fileno())
                        write_durably(pause, json.dumps({"rows": done, "notes": decoder.notes()}, default=str))
                        unsynced = 0
                file.flush()
                os.fsync(file.fileno())
            text = json.dumps({**self.key, **decoder.notes()}, indent=1, default=str)
            self.path.with_suffix(".json").write_text(text, encoding="utf-8")
            part.replace(self.path)
        except BaseException as error:
            keep = resumes and not isinstance(error, Exception)  # stopped by a user: the next start goes on
            raise
        finally:
            for left in () if keep else (part, pause):
                with contextlib.suppress(OSError):
                    left.unlink()


def _paused(part: Path, pause: Path, begin: int, size: int) -> tuple[int, Mapping[str, Any]]:
    """Returns how many rows of an interrupted file are known to be whole, and its notes; none if there is no such file."""
    try:
        found = json.loads(pause.read_text(encoding="utf-8"))
        done, notes = int(found["rows"]), dict(found["notes"])
        return (done, notes) if part.stat().st_size >= begin + done * size else (0, {})
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}
