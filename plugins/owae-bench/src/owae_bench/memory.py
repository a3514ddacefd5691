"""The peak memory of a call, beyond what was held before it.

On a GPU it is what torch's allocator counts; what a library allocates for itself, such as KeOps its index tables, is not in it. On
a CPU it is the growth of the process's resident memory, which counts everybody, torch or not. The kernel keeps the highest value and
lets it be reset (Linux); where it cannot be reset, nothing is reported rather than something else.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """The bytes that a call needs beyond what is held before it, at its worst moment; None where that cannot be told."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu" or not _give_back() or not _reset_peak():
        return None
    before = _resident("VmRSS")
    call()
    peak = _resident("VmHWM")
    # The allocator may keep a block in spite of being asked, and give it back once the call has used it: it was not held.
    _give_back()
    return max(0, peak - min(before, _resident("VmRSS")))


def _give_back() -> bool:
    """Return freed memory to the system, for what is kept for reuse would be counted before the call and not by it."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return False
    return True


def _reset_peak() -> bool:
    """Forget the highest resident memory so far; whether that worked."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return _STATUS.exists()


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0
