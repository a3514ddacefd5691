"""Computes the costs of all levels: each in its latent, or in data space, where codes and predictions are decoded to the data.

A cost in data space on `z_n` compares `R_n` with `R_{n+1}`, where `R_n` (B, *x) is the reconstruction through level n: a draw of
`p(z_{n−1} | z_n)` at the code `z_n`, then the decoders' means down to the data. All N reconstructions take N(N + 1)/2 decodings, or
fewer where a cost is measured on a share of the rows (`Level.rows`).
Each decoder gets everything that has come down to it in one batch. That is faster than one call for each, and batch norm then
normalises in training by the same mixture of inputs whose statistics it keeps for evaluation.

A reconstruction serves twice: `R_n` is the prediction of the cost on `z_{n−1}` and the target of the cost on `z_n`. It must be the
same draw. With targets decoded by means alone, decoders were seen to put all information into their variance: draws were good, means
all alike, and the costs of all deeper levels nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from owae.component_checks import neutral
from owae.distributions import Dirac, Distribution, Gaussian
from owae.interfaces import LatentLayer
from owae.model.context import Context
from owae.model.level import Level

FEWEST_ROWS = 8  # of a batch, or all of a smaller one: batch norm needs several, however small a level's share


def level_costs(
    levels: Sequence[Level],
    beneath: Sequence[LatentLayer],
    codes: Sequence[Tensor],
    data: Tensor | None,
    context: Context,
    cost: Callable[[Level, Tensor, Distribution], Tensor],
) -> list[Tensor]:
    """Computes the costs of the levels, from the deepest down, for a cost may draw and a slice of the stack then draws the same.

    Each decoder is called once, on two kinds of rows in one batch: the codes `z_{n+1}` of its own level, which give the predictions of
    `z_n` (all rows, or those dealt to the level); and beneath levels with a cost in data space, what deeper decoders have given so far,
    of which the means go on down. At the bottom these are the reconstructions, which are then compared with each other or the data.

    Args:
        levels: The stacked levels, bottom first.
        beneath: The layers beneath them, bottom first: those that a slice `stack[i:]` has left out.
        codes: `z_0 … z_k` of these levels; `z_0` is the data where nothing lies beneath.
        data: The data (B, *x), for levels that are compared with them; None where a slice was not given them.
        context: How decoders are run and draws taken.
        cost: The mean cost of a level between its target and a distribution of predictions, a scalar.

    Returns:
        The costs on `z_0 … z_{k−1}`, scalars; `ValueError` where a level needs the data, which were not given.
    """
    layers = [*beneath, *(level.layer for level in levels)]
    # At the bottom of a whole stack the data are the latent, and both kinds of cost are one.
    in_data = [level.space == "data" and (n > 0 or len(beneath) > 0) for n, level in enumerate(levels)]
    targets = {n for n, level in enumerate(levels) if in_data[n] and level.target == "code"}  # the n whose R_n is a target
    wanted = targets | {n + 1 for n in range(len(levels)) if in_data[n]}  # the n whose R_n is needed at all
    rows = _deal(levels, len(codes[0]), whole={n - 1 for n in targets})  # of level n, which rows are compared
    costs: dict[int, Tensor] = {}
    reconstructions: dict[int, Tensor] = {}  # by n; those on their way down are means of the latent where they have come to
    for depth in reversed(range(len(layers))):
        n = depth - len(beneath)  # the decoder gives z_n; those beneath the levels have codes of their own only for the target R_0
        own = _take(codes[n + 1], rows[n]) if n >= 0 else codes[0] if n + 1 in targets else None
        if own is None and not reconstructions:
            break
        prediction, reconstructions = _decode(context, layers[depth], own, reconstructions)
        if prediction is None:
            continue
        if n + 1 in wanted:
            reconstructions[n + 1] = context.draw(prediction) if depth > 0 else prediction.mean
        if n >= 0 and not in_data[n]:
            costs[n] = cost(levels[n], _take(codes[n], rows[n]), prediction)
    for n, level in enumerate(levels):
        if in_data[n]:
            target = reconstructions[n] if n in targets else data
            if target is None:
                raise ValueError(f"level {n + 1} of this slice compares with the data: call it as stack[i:](z, data=x)")
            costs[n] = cost(level, _take(target, rows[n]), Dirac(reconstructions[n + 1]))
    return [costs[n] for n in range(len(levels))]


def _decode(
    context: Context, layer: LatentLayer, own: Tensor | None, above: dict[int, Tensor]
) -> tuple[Distribution | None, dict[int, Tensor]]:
    """Decodes a level's own codes, if any, and what has come down from above in one batch.

    Returns:
        The distribution that the own codes give, or None; and the means that the others give, by the same keys.
    """
    inputs = [*([] if own is None else [own]), *above.values()]
    z = torch.cat(inputs) if len(inputs) > 1 else inputs[0]
    with neutral(layer, z):
        p = context.decode(layer, z)
    count = 0 if own is None else len(own)
    if above:
        means = p.mean[count:].split([len(each) for each in above.values()])
        above = dict(zip(above, means, strict=True))
        p = _first_rows(p, count)
    return None if own is None else p, above


def _deal(levels: Sequence[Level], size: int, *, whole: Collection[int]) -> list[slice | None]:
    """Deals the rows of a batch to the levels by their shares (`Level.rows`), bottom first; None stands for all rows.

    Levels with a share take neighbouring rows, one after the other, the deepest level first, so that a slice of a stack deals as the
    whole does; a level that finds no rows left begins again at the first. So shares that add up to 1 leave each row to one level. Levels
    in `whole` take all rows, since the level above has the same reconstructions as its target.
    """
    dealt: list[slice | None] = []
    start = size
    for n, level in reversed([*enumerate(levels)]):
        count = size if n in whole else min(size, max(FEWEST_ROWS, round(level.rows * size)))
        if count == size:
            dealt.append(None)
            continue
        start = min(start if start < size else 0, size - count)
        dealt.append(slice(start, start + count))
        start += count
    return dealt[::-1]


def _take(batch: Tensor, rows: slice | None) -> Tensor:
    return batch if rows is None else batch[rows]


def _first_rows(p: Distribution, count: int) -> Distribution:
    """Returns the distribution of the first rows of a batch."""
    if type(p) is Dirac:
        return Dirac(p.mean[:count])
    if type(p) is Gaussian:
        return Gaussian(p.mean[:count], p.variance[:count])
    return _Rows(p, count)


class _Rows:
    """The first rows of a distribution of a plugin's own class."""

    def __init__(self, whole: Distribution, count: int) -> None:
        self._whole, self._count = whole, count

    @property
    def mean(self) -> Tensor:
        return self._whole.mean[: self._count]

    @property
    def variance(self) -> Tensor:
        return self._whole.variance[: self._count]

    def rsample(self) -> Tensor:
        return self._whole.rsample()[: self._count]
