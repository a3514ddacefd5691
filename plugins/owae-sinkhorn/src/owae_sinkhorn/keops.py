"""Finds out whether KeOps can be used here, and keeps it from printing to stdout."""

from __future__ import annotations

import os
import shutil
from functools import cache

from owae.streams import quiet_stdout


@cache
def keops_missing() -> str:
    """Says why KeOps cannot be used in this process, and what would mend it; empty where it can."""
    compilers = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    if not any(shutil.which(name) for name in compilers):
        return "KeOps needs a C++ compiler and none was found: install g++, or set CXX to one"
    try:
        with quiet_stdout():
            import pykeops.torch
    except ImportError as error:
        return f"pykeops is not usable ({error}): pip install pykeops"
    except Exception as error:  # whatever its set-up stumbles on, such as a cache folder that cannot be written
        return f"pykeops fails when imported ({type(error).__name__}: {error}); KEOPS_CACHE_FOLDER moves its cache"
    # Its gradients are compiled in the backward pass, out of reach of a redirection: the messages can only be switched off.
    pykeops.set_verbose(False)
    return ""
