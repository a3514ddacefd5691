"""Describes the machine that a measurement is made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def describe_machine(device: str) -> dict[str, Any]:
    """Describes the device, its maker's name for it, the threads, how busy the machine is with anything (its load), the versions."""
    import torch

    import owae

    card = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        "device": device,
        "device_name": card,
        "threads": torch.get_num_threads(),
        "load": load,
        "torch": torch.__version__,
        "owae": owae.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
