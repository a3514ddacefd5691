"""Runs functions through torch.compile where that works, and uncompiled where it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from owae.errors import TrainingError

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def compiled(function: Callable[P, R], *, must: bool = False, dynamic: bool | None = None) -> Callable[P, R]:
    """Returns a function that runs `function` through torch.compile, from its first call on.

    Where that fails, one warning says so and `function` itself is called from then on. What `function` raises by itself is raised.

    Args:
        function: What to compile. A call that fails is made a second time, without torch.compile.
        must: Whether a failure of the compiler is an error (`TrainingError`, when called) instead.
        dynamic: As torch.compile has it: True for one translation for all sizes, None to find out at the second size.
    """
    translated: Callable[P, R] | None = None
    failed = False

    def run(*arguments: P.args, **options: P.kwargs) -> R:
        nonlocal translated, failed
        if failed:
            return function(*arguments, **options)
        try:
            if translated is None:
                translated = torch.compile(function, dynamic=dynamic)  # here, since it imports much
            return translated(*arguments, **options)
        except Exception as error:  # compilers that are missing or broken fail in many ways
            from torch._dynamo.exc import TorchDynamoException

            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            if must and isinstance(error, TorchDynamoException):
                raise TrainingError(f"torch.compile failed ({reason}); compile = false would work") from error
            if must:
                raise
            value = function(*arguments, **options)  # raises what was no fault of the compiler's
            failed = True
            name = getattr(function, "__qualname__", repr(function))
            logger.warning("torch.compile failed on %s (%s); going on without (slower, same numbers)", name, reason)
            return value

    return run
