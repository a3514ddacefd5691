"""One function fused by `torch.compile` where that works, and run as it stands where it does not."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger(__name__)


def cpp_compiler() -> str | None:
    """The C++ compiler that torch and KeOps would call: `CXX` if it can be found, else g++ or clang++."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    return None


def obstacle(device: torch.device) -> str:
    """Why nothing can be fused for a device; empty if it can be tried."""
    if device.type == "cpu":
        return "" if cpp_compiler() else "no C++ compiler was found (g++, or one named by CXX)"
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "triton is not installed"
    return f"no compiler for {device.type}"


class Fused:
    """A function, compiled at its first call. If that fails, it is said once and the plain function serves from then on."""

    def __init__(self, plain: Callable[..., Any], name: str) -> None:
        self.plain, self.name = plain, name
        self.compiled: Callable[..., Any] | None = None
        self.failure = ""

    def __call__(self, *arguments: Any) -> Any:
        if self.failure:
            return self.plain(*arguments)
        if self.compiled is None:
            log.info("compiling… %s, once a process (seconds; later processes find it in torch's cache)", self.name)
            self.compiled = torch.compile(self.plain, dynamic=True)
        try:
            with warnings.catch_warnings():
                # Torch's own compiler warns about its own parts.
                warnings.simplefilter("ignore")
                return self.compiled(*arguments)
        except Exception as error:  # the compiler's failures have no common class
            self.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            log.warning("could not compile %s, which runs unfused (slower, same numbers): %s", self.name, self.failure)
            return self.plain(*arguments)
