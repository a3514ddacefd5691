"""Holds torch to deterministic algorithms: the same bits each time from one machine and one version of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from owae.errors import TrainingError


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Runs the block with deterministic algorithms only, if wanted; `TrainingError` if something in the model has none."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, before its first product
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" in str(error):
            raise TrainingError(f"deterministic = true: {str(error).splitlines()[0]}; deterministic = false would work") from error
        raise
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark
