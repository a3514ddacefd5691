"""The engine: Eq. 14 as the recursion it came from.

    W(z, n) = D(z, P_N)                                                  n = N
            = E c_n(z, z~) + λ_{n+1} · W(z', n + 1)                      n < N,   z' ~ q_{n+1}(· | z),  z~ ~ p_{n+1}(· | z')

`W(x, 0)` is the relaxed Wasserstein distance between the data and the model; the divergence between a level's
aggregated posterior and its prior is once more such a distance (Eq. 11), until a plain divergence closes the top. Unrolled,
the term on `z_i` has weight `w_i = λ_1 ⋯ λ_i` (Eq. 14); those products are what a stack is given and what it reports.

One draw of `q_{n+1}` a row serves as this level's code, the next level's data and the target of the next cost. Gradients flow
everywhere. Levels are stored flat, bottom first: `levels[n]` joins `z_n` to `z_{n+1}`, with `z_0 = x`.

An evaluation climbs through the encoders, matches the top, and comes down through the decoders (`owae.model.data_space`, for costs that are
measured in data space); the recursion is then summed from the top.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from owae.distributions import Dirac, Distribution, at_least_float32
from owae.errors import ConfigError
from owae.interfaces import Divergence, LatentLayer, Prior
from owae.model.data_space import Descent
from owae.model.defaults import Ancestral, StandardNormal
from owae.model.level import Level, Space, Target
from owae.model.objective import Objective
from owae.numerics import full_precision

__all__ = ["Level", "Space", "Stack", "Target"]


class Stack(nn.Module):
    """A deep-latent hierarchy trained by stacked Wasserstein autoencoders (Eqs. 11 and 14).

    Args:
        levels: Bottom first; a bare layer stands for a level with the squared Euclidean cost.
        divergence: Compares the aggregated posterior of the matched level with its prior.
        weights: The products `w_1 … w_k` of Eq. 14, the last one the divergence's.
        prior: The prior on the deepest level; standard normal unless given.
        stacked: The level `k` to stop stacking at: the divergence compares `z_k` with its ancestral prior (Eq. 7). All of them
            unless given; 1 is the plain WAE of Eq. 8. Encoders above level `k` then have no part in the objective.

    Raises:
        ConfigError: Shapes of neighbouring levels or of the prior do not fit, or the weights are not k usable numbers.

    Calling it on data `x` (B, *x) gives the `Objective`. `stack[i:]` is the stack of the levels above `z_i`, sharing the modules,
    and obeys `stack(x).transport == costs[0] + λ_1 · stack[1:](z_1).transport`; to the bit, and in data space, where slices decode
    other batches than the whole does, to rounding if no batch norm is in training.
    """

    def __init__(
        self,
        levels: Sequence[Level | LatentLayer],
        *,
        divergence: Divergence,
        weights: Sequence[float],
        prior: Prior | None = None,
        stacked: int | None = None,
    ) -> None:
        super().__init__()
        made = [level if isinstance(level, Level) else Level(level) for level in levels]
        _check_shapes(made, prior)
        self.levels = nn.ModuleList(made)
        self.divergence = divergence
        self.prior = StandardNormal(made[-1].layer.latent_shape) if prior is None else prior
        self.stacked = len(made) if stacked is None else stacked
        if not 1 <= self.stacked <= len(made):
            raise ConfigError(f"stacked is {stacked}; with {len(made)} levels it can be 1 to {len(made)}")
        self.multipliers = _multipliers(weights, self.stacked)
        # Layers that lie beneath a slice: needed only by costs measured in data space. In a list of lists, to stay unregistered.
        self._beneath: list[Sequence[LatentLayer]] = [()]
        # Makes the matched sample global where several processes share a batch (set by the trainer).
        self.gather: Callable[[Tensor], Tensor] = _identity

    @property
    def depth(self) -> int:
        """The number of levels, N."""
        return len(self.levels)

    @property
    def layers(self) -> list[LatentLayer]:
        """The levels' layers, bottom first."""
        return [level.layer for level in self.levels]  # pyright: ignore[reportReturnType] # ModuleList forgets its item type

    @property
    def weights(self) -> tuple[float, ...]:
        """`w_0 = 1, w_1, …, w_k`, the products of Eq. 14."""
        return tuple(itertools.accumulate(self.multipliers, lambda w, multiplier: w * multiplier, initial=1.0))

    @property
    def matched_prior(self) -> Prior:
        """The prior on the matched level: the deepest one's, or, where stacking stops earlier, the ancestral one (Eq. 7)."""
        return Ancestral(self.layers[self.stacked :], self.prior) if self.stacked < self.depth else self.prior

    def forward(self, x: Float[Tensor, "B *x"], *, data: Tensor | None = None) -> Objective:
        """Eq. 14 at data `x`.

        A slice `stack[i:]` is called on codes `z_i`; where a level in it has the data as its target, it needs them too, as `data`.
        """
        posteriors, codes, penalties = self._climb(x)
        divergence = self._match(codes[-1])
        costs = self._descend([x, *codes], data if self._beneath[0] else x)
        return self.summed(costs, penalties, divergence, posteriors, codes)

    def summed(
        self,
        costs: Sequence[Tensor],
        penalties: Sequence[Tensor],
        divergence: Tensor,
        posteriors: Sequence[Distribution],
        codes: Sequence[Tensor],
    ) -> Objective:
        """The record of an evaluation from its terms, bottom first: Eq. 14 summed from the top, as Eq. 11 says, and Eq. 17."""
        transport = divergence
        for cost, multiplier in zip(reversed(costs), reversed(self.multipliers), strict=True):
            transport = cost + multiplier * transport
        penalty_weights = tuple(level.penalty for level in self._stacked_levels())
        loss = transport
        for weight, penalty in zip(penalty_weights, penalties, strict=True):
            if weight > 0:
                loss = loss + weight * penalty
        return Objective(
            costs=tuple(costs),
            penalties=tuple(penalties),
            divergence=divergence,
            weights=self.weights,
            penalty_weights=penalty_weights,
            transport=transport,
            loss=loss,
            posteriors=tuple(posteriors),
            codes=tuple(codes),
        )

    def _climb(self, z: Tensor) -> tuple[list[Distribution], list[Tensor], list[Tensor]]:
        """The encoders' distributions, one draw of each, `z_1 … z_k` (Eq. 2), and the penalties."""
        posteriors, codes, penalties = [], [], []
        for level in self._stacked_levels():
            q = level.layer.encode(z)
            z = q.rsample()
            posteriors.append(q)
            codes.append(z)
            penalties.append(self._penalty(level, q, z))
        return posteriors, codes, penalties

    def _match(self, z: Tensor) -> Tensor:
        """`D(Q_k, P_k)`."""
        z = at_least_float32(self.gather(z))
        with full_precision(z.device):
            return self.divergence.to_prior(z, self.matched_prior)

    def _descend(self, codes: Sequence[Tensor], data: Tensor | None) -> list[Tensor]:
        """The costs on `z_0 … z_{k−1}` from codes `z_0 … z_k`; `data` are what they are codes of."""
        levels, beneath, descent = self._stacked_levels(), self._beneath[0], Descent()
        in_data = [level.space == "data" and (n > 0 or len(beneath) > 0) for n, level in enumerate(levels)]
        targets = {n for n, level in enumerate(levels) if in_data[n] and level.target == "code"}
        costs: dict[int, Tensor] = {}
        for n, level in reversed(list(enumerate(levels))):
            p = descent.through(level.layer, codes[n + 1])
            if in_data[n] or n + 1 in targets:
                descent.reconstructions[n + 1] = p.rsample() if n + len(beneath) > 0 else p.mean
            if not in_data[n]:
                costs[n] = self._cost(level, codes[n], p)
        if 0 in targets:
            p = descent.through(beneath[-1], codes[0])
            descent.reconstructions[0] = p.rsample() if len(beneath) > 1 else p.mean
            beneath = beneath[:-1]
        descent.to_data(beneath)
        for n, level in enumerate(levels):
            if in_data[n]:
                target = descent.reconstructions[n] if n in targets else data
                if target is None:
                    raise ValueError(f"level {n + 1} of this slice compares with the data: call it as stack[i:](z, data=x)")
                costs[n] = self._cost(level, target, Dirac(descent.reconstructions[n + 1]))
        return [costs[n] for n in range(len(levels))]

    def _cost(self, level: Level, z: Tensor, p: Distribution) -> Tensor:
        with full_precision(z.device):
            return level.cost.expected(at_least_float32(z), p).mean()

    def _penalty(self, level: Level, q: Distribution, z: Tensor) -> Tensor:
        if level.regulariser is None:
            return at_least_float32(z.new_zeros(()))
        with full_precision(z.device):
            return level.regulariser(q).mean()

    def _stacked_levels(self) -> list[Level]:
        return list(self.levels)[: self.stacked]  # pyright: ignore[reportReturnType] # ModuleList forgets its item type

    def __getitem__(self, index: slice) -> Stack:
        start, stop, step = index.indices(self.depth)
        if step != 1 or stop != self.depth or start >= self.stacked:
            raise IndexError(f"a stack is cut from below, as stack[i:] with i < {self.stacked}, the level it is matched at")
        upper = Stack.__new__(Stack)
        nn.Module.__init__(upper)
        upper.levels = self.levels[start:]
        upper.divergence, upper.prior, upper.gather = self.divergence, self.prior, self.gather
        upper.stacked = self.stacked - start
        upper.multipliers = self.multipliers[start:]
        upper._beneath = [[*self._beneath[0], *self.layers[:start]]]
        return upper.train(self.training)

    # Using a trained stack. None of these builds a graph unless gradients are enabled by the caller.

    def encode(self, x: Float[Tensor, "B *x"], *, sample: bool = False) -> list[Tensor]:
        """The codes `z_1 … z_N` of data: the encoders' means, or one draw of each where `sample` is true."""
        codes = []
        for layer in self.layers:
            q = layer.encode(x)
            x = q.rsample() if sample else q.mean
            codes.append(x)
        return codes

    def decode(self, z: Float[Tensor, "B *z"], level: int | None = None, *, sample: bool = False) -> Tensor:
        """Codes of a level (the deepest unless given, counted from 1) decoded to data, (B, *x).

        By the decoders' means, or with their noise at every latent level where `sample` is true; at the bottom always the mean.
        """
        level = self.depth if level is None else level
        if not 1 <= level <= self.depth:
            raise ValueError(f"level is {level}; a stack of {self.depth} levels decodes from 1 to {self.depth}")
        for n, layer in reversed(list(enumerate(self.layers[:level]))):
            p = layer.decode(z)
            z = p.rsample() if sample and n > 0 else p.mean
        return z

    def reconstruct(self, x: Float[Tensor, "B *x"], level: int | None = None, *, sample: bool = False) -> Tensor:
        """Data encoded up to a level and decoded from it: "reconstruction through level k"; by means unless `sample` is true."""
        level = self.depth if level is None else level
        return self.decode(self.encode(x, sample=sample)[level - 1], level, sample=sample)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """`n` ancestral samples of the model (Eq. 1), (n, *x): noise at every latent level, the mean at the bottom."""
        return self.decode(self.prior.sample(n), sample=True)


def _identity(z: Tensor) -> Tensor:
    return z


def _check_shapes(levels: Sequence[Level], prior: Prior | None) -> None:
    if not levels:
        raise ConfigError("a stack needs at least one level")
    for i, (lower, upper) in enumerate(itertools.pairwise(levels)):
        if tuple(lower.layer.latent_shape) != tuple(upper.layer.in_shape):
            raise ConfigError(
                f"level {i + 2} takes events of shape {tuple(upper.layer.in_shape)}, but level {i + 1} gives "
                f"{tuple(lower.layer.latent_shape)}: build it with in_shape = {tuple(lower.layer.latent_shape)}"
            )
    top = tuple(levels[-1].layer.latent_shape)
    if prior is not None and tuple(prior.shape) != top:
        raise ConfigError(
            f"the prior's events have shape {tuple(prior.shape)}, the deepest level's {top}: build it with shape = {top}"
        )


def _multipliers(weights: Sequence[float], stacked: int) -> tuple[float, ...]:
    """`λ_1 … λ_k` from the products `w_1 … w_k`."""
    if len(weights) != stacked:
        raise ConfigError(
            f"{len(weights)} weights for a stack matched at level {stacked}; "
            f"it takes {stacked}: w_1 … w_{stacked}, the last one the divergence's"
        )
    if bad := [w for w in weights if not (w >= 0 and math.isfinite(w))]:
        raise ConfigError(f"weights hold {bad[0]}; each is a finite number, at least 0")
    multipliers = []
    below = 1.0
    for i, w in enumerate(weights, start=1):
        if below == 0 and w > 0:
            raise ConfigError(f"w_{i} = {w} follows a zero: w_i is the product λ_1 … λ_i, so a zero cuts off everything deeper")
        multipliers.append(w / below if below > 0 else 0.0)
        below = float(w)
    return tuple(multipliers)
