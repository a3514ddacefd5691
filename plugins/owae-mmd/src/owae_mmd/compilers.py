"""Looks for the compilers that torch.compile and KeOps need."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch


def cpp_compiler() -> str | None:
    """The C++ compiler that torch and KeOps would call: `CXX` if it can be found, else g++ or clang++."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    return None


def obstacle(device: torch.device) -> str:
    """Says why torch.compile cannot work for a device; empty if it can be tried."""
    if device.type == "cpu":
        return "" if cpp_compiler() else "no C++ compiler was found (g++, or one named by CXX)"
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "triton is not installed"
    return f"no compiler for {device.type}"
