"""Writes files whole or not at all: under another name in the same folder, flushed to the disk, then renamed.

Also: what a JSON file can hold, and paths as people write them.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

from owae.errors import ConfigError

_TEMPORARY = ".writing-"
_SAFETENSORS_TEMPORARY = ".tmp??????"  # under which safetensors writes a file of its own before it renames it to ours
# What a file system says that cannot flush a folder; there a rename is as durable as it makes it.
_NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def temporary_for(target: Path) -> Path:
    """Returns the name under which a file is written before it gets its own."""
    return target.with_name(f"{_TEMPORARY}{target.name}")


def is_temporary(path: Path) -> bool:
    """Tells whether a file or a folder was left by an interrupted write."""
    return path.name.startswith(_TEMPORARY) or path.match(_SAFETENSORS_TEMPORARY)


def replace_durably(temporary: Path, target: Path) -> None:
    """Renames a finished file into place: after a crash the name holds the old file or the new one, never a part of one."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
    try:
        folder = os.open(target.parent, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder, and others need the right to list it
        return
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(folder)


def write_durably(target: Path, content: str | bytes) -> None:
    """Writes a small file whole or not at all; a failure (`OSError`) leaves nothing behind but the old file."""
    temporary = temporary_for(target)
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        replace_durably(temporary, target)
    except OSError:
        with contextlib.suppress(OSError):  # a folder turned read-only keeps even that
            temporary.unlink(missing_ok=True)
        raise


def clear_temporary(folder: Path) -> None:
    """Removes what interrupted writes left in a folder and those within it."""
    for path in [path for path in folder.rglob(".*") if is_temporary(path)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def delete_all(files: list[Path]) -> None:
    """Deletes files, or none of them: each is first renamed, which a system allows where it allows to delete it.

    Raises:
        OSError: One cannot be deleted; all have their names again.
    """
    renamed: list[Path] = []
    try:
        for path in files:
            path.rename(temporary_for(path))
            renamed.append(path)
    except OSError:
        for path in renamed:
            temporary_for(path).rename(path)
        raise
    for path in renamed:
        temporary_for(path).unlink()


def json_ready(value: Any) -> Any:
    """Returns plain values with None for every number that is not finite: JSON has no NaN and no infinity.

    >>> json_ready({"loss": float("nan"), "levels": (1, 2.5)})
    {'loss': None, 'levels': [1, 2.5]}
    """
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def expanded(path: str | Path) -> Path:
    """Returns a path with `~` and environment variables (`$SCRATCH` or `${SCRATCH}`) replaced by what they stand for.

    Raises:
        ConfigError: A variable is not set, or empty; there is no such user; nothing was given, as by a shell whose variable is not set,
            which would else mean the working folder.
    """
    if not str(path):
        raise ConfigError("found an empty path, as of a variable that is not set; '.' would mean the folder that you are in")
    for name in re.findall(r"\$\{?(\w+)", str(path)):
        if not os.environ.get(name):
            raise ConfigError(f"found '{path}', but the environment variable {name} is not set; set it, or write the path out")
    found = os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 # Path's own raises an error of its own
    if re.match(r"~[^/\\]*[/\\]", found):
        raise ConfigError(f"found '{path}', but there is no user of that name; './{path}' would mean a folder with that name")
    return Path(found)
