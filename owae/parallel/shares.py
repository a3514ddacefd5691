"""Evaluating a stack on this process's rows of a batch so that all together evaluate it on the batch.

What is drawn a row (a `Gaussian`'s noise) is drawn for the whole batch on every process, of which each keeps its rows: so rows differ,
processes agree, and one process alone would have drawn the same. Other randomness within a layer, as dropout's, has a stream for
each process; a divergence and its prior, evaluated by all on the same gathered codes, draw from the common one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from owae.distributions import Dirac, Distribution, Gaussian, standard_noise
from owae.model.inference import own_randomness
from owae.model.objective import Objective
from owae.model.stack import Stack
from owae.parallel.world import World

Function = Callable[[Tensor], Distribution]


class Shares:
    """The evaluation of one batch of `count` rows; `key` tells it from others, so that its private streams are its own."""

    def __init__(self, world: World, count: int, key: tuple[int, ...]) -> None:
        self.world, self.rows = world, world.rows(count)
        self.own = self.rows[world.rank]
        self._seeds = np.random.SeedSequence([*key, world.rank])
        self._common = False  # whether all processes compute alike at the moment

    @contextmanager
    def of(self, stack: Stack) -> Iterator[None]:
        """A block in which the stack is called on this process's rows."""
        divergence, to_prior, gather = stack.divergence, stack.divergence.to_prior, stack.gather
        stack.gather = lambda z: self.world.gather(z, self.rows)
        divergence.to_prior = self._alike(to_prior)
        token = standard_noise.set(self._noise)
        try:
            yield
        finally:
            standard_noise.reset(token)
            stack.gather = gather
            del divergence.to_prior  # the class's own method shows again

    def privately(self, function: Function) -> Function:
        """An encoder or decoder whose other randomness differs from process to process."""

        def private(z: Tensor) -> Distribution:
            if self._common:
                return function(z)
            with self._stream(z):
                p = function(z)
            if type(p) not in (Gaussian, Dirac):
                draw = p.rsample

                def rsample() -> Tensor:
                    with self._stream(z):
                        return draw()

                p.rsample = rsample  # pyright: ignore[reportAttributeAccessIssue] # of this instance only
            return p

        return private

    def whole(self, objective: Objective, stack: Stack) -> Objective:
        """The objective on the whole batch: costs and penalties are means over the rows of all processes."""
        count, parts = sum(self.rows), [*objective.costs, *objective.penalties]
        terms = torch.stack(parts)
        # A process without rows has the mean of nothing; it must take part in the backward pass all the same.
        terms = self.world.sum(terms * (self.own / count) if self.own else terms.nan_to_num() * 0).unbind()
        costs, penalties = terms[: len(objective.costs)], terms[len(objective.costs) :]
        return stack.summed(costs, penalties, objective.divergence, objective.posteriors, objective.codes)

    def _noise(self, like: Tensor) -> Tensor:
        if self._common:
            return torch.randn_like(like)
        if len(like) != self.own:  # not a draw a row of the batch
            with self._stream(like):
                return torch.randn_like(like)
        whole = torch.randn(sum(self.rows), *like.shape[1:], dtype=like.dtype, device=like.device)
        return whole.split(self.rows)[self.world.rank]

    @contextmanager
    def _stream(self, z: Tensor) -> Iterator[None]:
        (seed,) = self._seeds.spawn(1)[0].generate_state(1)
        with own_randomness(int(seed), z.device):
            yield

    def _alike(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def alike(*arguments: Any) -> Any:
            self._common = True
            try:
                return function(*arguments)
            finally:
                self._common = False

        return alike
