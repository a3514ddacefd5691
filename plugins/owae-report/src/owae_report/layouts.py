"""Lays codes out by UMAP, here or in a process of its own, which imports no torch and so begins soon.

UMAP: McInnes, Healy and Melville 2018, arXiv:1802.03426, as `umap-learn` has it, with its defaults (15 neighbours, minimal distance
0.1, Euclidean).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from owae_report.errors import NotDrawableError


@dataclass(frozen=True)
class Neighbourhood:
    """What UMAP is given of a level.

    Attributes:
        codes: One at least.
        count: Neighbours of each code, itself among them.
        known: Their places and distances, itself the first, (n, count) each; None where UMAP is to search.
    """

    codes: Float[np.ndarray, "n d"]
    count: int
    known: tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]] | None


def lay_out(level: Neighbourhood, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Computes places in a plane; the same seed gives the same ones on one machine.

    Raises:
        NotDrawableError: umap-learn cannot be imported.
    """
    # What comes along prints, and warns of threads it does not use and of packages it does not need.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maker = _imported()
        # All alike: there is nothing to lay out, and what UMAP makes of that is its own noise.
        if (level.codes == level.codes[0]).all():
            return np.zeros((len(level.codes), 2))
        known = level.known or (None, None)
        made = maker(n_neighbors=level.count, random_state=seed, n_jobs=1, precomputed_knn=known)
        return np.asarray(made.fit_transform(level.codes), dtype=np.float64)


def begin(levels: Sequence[Neighbourhood], seed: int, folder: Path) -> Callable[[], list[Float[np.ndarray, "n 2"]]]:
    """Starts a process that lays levels out, and returns what waits for it and reads their points.

    Args:
        levels: What is laid out.
        seed: Decides the layouts.
        folder: Where the processes leave arrays to each other; of nobody else.
    """
    arrays = {}
    for i, level in enumerate(levels):
        arrays |= {f"codes{i}": level.codes, f"count{i}": np.array(level.count)}
        if level.known is not None:
            arrays |= dict(zip((f"places{i}", f"distances{i}"), level.known, strict=True))
    np.savez(folder / "codes.npz", **arrays)
    command = [sys.executable, "-m", "owae_report.layouts", str(folder), str(seed)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait() -> list[Float[np.ndarray, "n 2"]]:
        _, said = process.communicate()
        if process.returncode:
            raise NotDrawableError((said.splitlines() or [f"UMAP ended with exit code {process.returncode}"])[-1])
        with np.load(folder / "points.npz", allow_pickle=False) as file:
            return [file[f"points{i}"] for i in range(len(levels))]

    return wait


def _imported():
    """The class `umap.UMAP`."""
    try:
        from umap import UMAP
    except Exception as error:  # numba refuses versions of its neighbours in several ways
        raise NotDrawableError(
            f"UMAP cannot be imported ({type(error).__name__}: {error}); `pip install umap-learn` brings it"
        ) from error
    return UMAP


def _main(folder: Path, seed: int) -> None:
    with np.load(folder / "codes.npz", allow_pickle=False) as file:
        arrays = dict(file)
    points = {}
    for i in range(sum(key.startswith("codes") for key in arrays)):
        known = (arrays[f"places{i}"], arrays[f"distances{i}"]) if f"places{i}" in arrays else None
        points[f"points{i}"] = lay_out(Neighbourhood(arrays[f"codes{i}"], int(arrays[f"count{i}"]), known), seed)
    np.savez(folder / "points.npz", **points)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), int(sys.argv[2]))
    except NotDrawableError as error:
        sys.exit(str(error))
