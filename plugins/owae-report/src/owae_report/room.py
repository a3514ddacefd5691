"""Refuses what memory cannot hold before it is begun: the system would end the process without a word."""

from __future__ import annotations

import contextlib
import math
import os
import re
from pathlib import Path

from owae.errors import OwaeError
from owae.interfaces import Shape

_NUMBER = 20  # bytes that a number of an event takes at the worst moment, while it is brought to pixels or written (measured)
_PIXEL = 68  # bytes that a figure's pixel takes while matplotlib renders it (measured)


def require_room(count: int, shape: Shape, what: str) -> None:
    """Refuses events of a shape, or numbers, of shape (), that are more than memory has room for.

    Raises:
        OwaeError: It says how many bytes they take, and how many would fit.
    """
    each = _NUMBER * max(1, math.prod(shape))
    if count * each > (free := _free()):
        of = f" of shape {tuple(shape)}" if shape else ""
        raise OwaeError(f"{what}{of} {_too_much(count * each, free)}; up to {free // each:,} would fit")


def require_canvas(height: int, width: int, pictures: int) -> None:
    """Refuses a figure of so many pictures that has more pixels than memory has room for.

    Raises:
        OwaeError: It says how many bytes they take, and about how many pictures would fit.
    """
    size = _PIXEL * height * width
    if size > (free := _free()):
        found = f"a figure of {pictures:,} pictures, {height:,}×{width:,} pixels, {_too_much(size, free)}"
        raise OwaeError(f"{found}; about {pictures * free // size:,} pictures would fit")


def _too_much(size: int, free: int) -> str:
    return f"would take about {size:,} bytes of memory ({size / 2**30:,.1f} GiB), and {free:,} are free"


def _free() -> int:
    """Bytes of memory that this process may still take; where the system does not say, as many as there can be."""
    found = [1 << 62]
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not on Windows
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError):  # of Linux
        found += [1024 * int(each) for each in re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())]
    with contextlib.suppress(OSError, ValueError):  # of a container; "max" where it has no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)
