"""Examples held out of the training set, and the objective on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from owae.errors import DataError
from owae.inference import evaluation_mode, own_randomness
from owae.interfaces import DataSource
from owae.training.loader import examples

if TYPE_CHECKING:
    from owae.training.loop import Fit


class Subset(DataSource):
    """Some of a source's examples, in the order of their indices."""

    name = "subset"

    def __init__(self, source: DataSource, indices: Tensor, /) -> None:
        self.source, self.indices = source, indices
        self.shape, self.value_range = tuple(source.shape), source.value_range
        self.labels = None if source.labels is None else source.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[int(self.indices[index])]

    def batch(self, indices: Tensor) -> Tensor:
        return self.source.batch(self.indices[indices])


def hold_out(source: DataSource, validation: float, seed: int) -> tuple[DataSource, DataSource]:
    """The examples to train on and those held out, chosen by a seed, each in the source's order.

    Args:
        source: All of them.
        validation: How many to hold out, from 1 on; or which share of them, below 1.
        seed: Decides which.

    Raises:
        DataError: Fewer than two examples are left on one of the sides.
    """
    count = round(validation * len(source)) if validation < 1 else int(validation)
    if count < 2 or len(source) - count < 2:
        raise DataError(f"validation = {validation:g} holds {count} of {len(source)} examples out; each side needs at least 2")
    # A stream of its own: the order of the first epoch, drawn from the same seed, has nothing to do with it.
    order = np.random.default_rng([seed, 0x5417]).permutation(len(source))
    held, kept = (torch.from_numpy(np.sort(part)) for part in np.split(order, [count]))
    return Subset(source, kept), Subset(source, held)


@torch.no_grad()
def validated(fit: Fit) -> dict[str, float]:
    """`validation/loss` and the objective's other terms, in means over the held-out examples in batches of training's size.

    In evaluation mode and with noise of its own, the same each time; training goes on as if nobody had looked.

    Raises:
        DataError: No examples were held out.
    """
    source = fit.validation
    if source is None:
        raise DataError("no examples are held out: give `validation` to fit, or train.validation in a config")
    totals: dict[str, Tensor] = {}
    count = 0
    with fit.averaged(), evaluation_mode(fit.stack), own_randomness(fit.seed, fit.device):
        for index, rows in enumerate(torch.arange(len(source)).split(fit.loader.batch_size)):
            if len(rows) < 2:  # as in training: no divergence of one example
                break
            own = fit.world.share(rows)
            x = examples(source, own if len(own) else rows[:1], fit.device)[: len(own)]  # no source is asked for nothing
            terms = fit.evaluate(x, len(rows), index).terms()
            totals = {name: totals.get(name, 0.0) + len(rows) * term for name, term in terms.items()}
            count += len(rows)
    values = torch.stack([total.float() for total in totals.values()]) / count
    return fit.world.agreed({f"validation/{name}": value for name, value in zip(totals, values.tolist(), strict=True)})
