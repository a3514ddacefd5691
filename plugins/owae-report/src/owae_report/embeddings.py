"""Codes in two dimensions (Figs. 3a and 8a): as they are, by principal components, by UMAP (`owae_report.layouts`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from owae.data.sources import examples
from owae.errors import DataError, TrainingError
from owae.interfaces import DataSource
from owae.model.inference import evaluating
from owae.model.stack import Stack
from owae_report.errors import NotDrawableError
from owae_report.evaluation.distances import nearest
from owae_report.layouts import Neighbourhood, lay_out

NEIGHBOURS = 15  # UMAP's, and so the fewest points it is asked to lay out
_CHUNK = 256
_SEARCHED = 10_000  # points all of whose distances are computed, in blocks


@dataclass(frozen=True)
class Projection:
    """Points in at most two dimensions.

    Attributes:
        points: Coordinates, (n, k) with k 1 or 2; float64.
        share: Part of the variance that they hold, from 0 to 1; None where that is not defined.
    """

    points: Float[np.ndarray, "n k"]
    share: float | None = None


def encode(stack: Stack, source: DataSource, indices: Int[Tensor, " n"], name: str = "the model") -> list[Float[Tensor, "n d"]]:
    """The encoders' means of examples at every level, bottom first, flattened and on the CPU.

    Args:
        stack: The stack, of which neither mode nor generators change.
        source: Where the examples are.
        indices: Their places in it.
        name: What errors call the model.

    Raises:
        DataError: There is no example.
        TrainingError: A code is not finite.
    """
    if not len(indices):
        raise DataError("there is no example to encode; at least one is needed")
    with evaluating(stack) as device:
        chunks = [
            [codes.flatten(1).float().cpu() for codes in stack.encode(examples(source, chunk, device))]
            for chunk in indices.split(_CHUNK)
        ]
    levels = [torch.cat(parts) for parts in zip(*chunks, strict=True)]
    for level, codes in enumerate(levels, start=1):
        bad = len(codes) - int(codes.isfinite().all(1).sum())
        if bad:
            raise TrainingError(
                f"{name} encodes {bad} of {len(codes)} examples to codes z_{level} that are not finite: its training diverged, "
                "and it can only be trained anew, with a lower learning rate for instance"
            )
    return levels


def pca(codes: Float[Tensor, "n d"]) -> Projection:
    """Codes along their first two principal components; along the only one, where d = 1.

    Exact, by the eigenvectors of the smaller of the d × d and n × n second moments, in float64. A component's sign is that which
    makes the point farthest along it positive.

    >>> pca(torch.tensor([[3.0, 0.0, 4.0], [-3.0, 0.0, -4.0]])).points[:, 0].tolist()
    [5.0, -5.0]
    """
    n, d = codes.shape
    kept = min(2, d)
    centred = codes.double() - codes.double().mean(0)
    # Of codes that are all alike nothing is left but rounding, which has components too.
    noise = torch.finfo(codes.dtype).eps * codes.abs().max().item()
    if centred.abs().max().item() <= noise:
        return Projection(np.zeros((n, kept)))
    if d <= n:
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        points = centred @ vectors[:, -kept:].flip(1)
    else:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        points = (vectors * values.clamp(min=0).sqrt())[:, -kept:].flip(1)
        points = torch.nn.functional.pad(points, (0, kept - points.shape[1]))  # a single point has a single component
    farthest = points.gather(0, points.abs().argmax(0, keepdim=True))
    points = points * torch.where(farthest < 0, -1.0, 1.0)
    share = points.square().sum() / centred.square().sum()
    return Projection(points.numpy(), min(1.0, share.item()))


def umap(codes: Float[Tensor, "n d"], seed: int = 0) -> Projection:
    """Codes laid out by UMAP; the same seed gives the same layout on one machine.

    Raises:
        NotDrawableError: There are fewer than 15 points, or umap-learn cannot be imported.
    """
    level = neighbourhood(codes)
    with threads_kept():
        return Projection(lay_out(level, seed))


def neighbourhood(codes: Float[Tensor, "n d"]) -> Neighbourhood:
    """Finds what UMAP is given of codes.

    Raises:
        NotDrawableError: There are fewer than 15.
    """
    if len(codes) < NEIGHBOURS:
        raise NotDrawableError(f"UMAP lays out {NEIGHBOURS} examples or more, found {len(codes)}")
    count = min(NEIGHBOURS, len(codes) - 1)
    # Its own search compiles for several seconds, and asks Python for every distance of few points.
    return Neighbourhood(codes.numpy(), count, _neighbours(codes, count) if len(codes) <= _SEARCHED else None)


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Runs the block, then gives torch its number of threads back: numba sets that of OpenMP, and sums round otherwise."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _neighbours(codes: Float[Tensor, "n d"], count: int) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Finds the nearest codes of every code, itself the first: places and distances, as UMAP takes them."""
    codes = codes.double()  # distances by products have few digits where codes are alike
    distances, places = nearest(codes, codes, count)
    own = torch.arange(len(codes))
    elsewhere = (places != own[:, None]).all(1)  # of codes that are alike, others may stand in its place
    first = torch.where(elsewhere, 0, (places == own[:, None]).int().argmax(1))
    places.scatter_(1, first[:, None], places[:, :1].clone())
    places[:, 0], distances[:, 0] = own, 0.0
    return places.numpy(), distances.float().numpy()


def raw(codes: Float[Tensor, "n d"]) -> Projection:
    """Codes of one or two dimensions as they are.

    Raises:
        ValueError: They have more.
    """
    if codes.shape[1] > 2:
        raise ValueError(f"found codes of {codes.shape[1]} dimensions; only one or two can be drawn as they are")
    return Projection(codes.double().numpy())


def densest(
    points: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], classes: Sequence[int]
) -> Float[np.ndarray, "classes k"]:
    """For every class that one of its points around which most of it is gathered: where its name is written.

    A class may lie in several parts and around others, so its mean is no place of its own. The point's distance to the nearest quarter
    of its class is the least.
    """
    places = []
    for each in classes:
        own = points[labels == each]
        own = own[:: -(-len(own) // 500)]  # distances are a table of all to all
        apart = np.square(own[:, None] - own).sum(-1)
        quarter = len(own) // 4
        places.append(own[np.partition(apart, quarter, axis=1)[:, quarter].argmin()])
    return np.array(places).reshape(len(classes), points.shape[1])
