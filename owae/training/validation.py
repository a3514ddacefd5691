"""Examples held out of the training set, and the objective on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from owae.data.sources import examples
from owae.errors import DataError
from owae.model.inference import evaluation_mode, own_randomness

if TYPE_CHECKING:
    from owae.training.loop import Fit


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
