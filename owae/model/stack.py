"""The engine: Eq. 14 as the recursion it came from.

    W(z, n) = D(z, P_N)                                                  n = N
            = E c_n(z, z~) + λ_{n+1} · W(z', n + 1)                      n < N,   z' ~ q_{n+1}(· | z),  z~ ~ p_{n+1}(· | z')

`W(x, 0)` is the relaxed Wasserstein distance between the data and the model; the divergence between a level's
aggregated posterior and its prior is once more such a distance (Eq. 11), until a plain divergence closes the top. Unrolled,
the term on `z_i` has weight `w_i = λ_1 ⋯ λ_i` (Eq. 14); those products are what a stack is given and what it reports.

One draw of `q_{n+1}` a row serves as this level's code, the next level's data and the target of the next cost. Gradients flow
everywhere. Levels are stored flat, bottom first: `levels[n]` joins `z_n` to `z_{n+1}`, with `z_0 = x`.

An evaluation goes up through the encoders, compares the top codes with their prior, goes down through the decoders
(`owae.model.costs`), and sums the recursion from the top (`Objective.summed`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from owae.component_checks import checked_result, neutral
from owae.distributions import Distribution, at_least_float32, shape_of
from owae.errors import ConfigError, InputError, PluginError
from owae.interfaces import Divergence, LatentLayer, Prior, Shape
from owae.model.context import PLAIN, Context
from owae.model.costs import level_costs
from owae.model.defaults import Ancestral, StandardNormal
from owae.model.html import html_table
from owae.model.level import CostSpace, CostTarget, Level
from owae.model.objective import Objective, multipliers_of, products
from owae.tensor_checks import ArrayLike, as_tensor, at_least, check_events, check_layout, check_values, full_precision, unchecked
from owae.torch_state import evaluation_mode, own_randomness

__all__ = ["CostSpace", "CostTarget", "Level", "Stack"]

_BLOCK = 32  # samples drawn at once; part of what a seed means


class Stack(nn.Module):
    """A deep-latent hierarchy trained by stacked Wasserstein autoencoders (Eqs. 11 and 14).

    Args:
        levels: Bottom first; a bare layer stands for a level with the squared Euclidean cost.
        divergence: Compares the aggregated posterior of the matched level with its prior.
        weights: The products `w_1 … w_k` of Eq. 14, the last one the divergence's.
        prior: The prior on the deepest level; standard normal unless given.
        matched_level: The level `k` whose codes the divergence compares with their prior, the ancestral one (Eq. 7) where deeper
            levels follow. The deepest unless given; 1 is the plain WAE of Eq. 8. Encoders above it have no part in the objective.

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
        matched_level: int | None = None,
    ) -> None:
        super().__init__()
        made = [level if isinstance(level, Level) else Level(level) for level in levels]
        _check_shapes(made, prior)
        self.levels = nn.ModuleList(made)
        self.divergence = divergence
        self.prior = StandardNormal(made[-1].layer.latent_shape) if prior is None else prior
        self.matched_level = len(made) if matched_level is None else matched_level
        if not 1 <= self.matched_level <= len(made):
            raise ConfigError(f"matched_level is {matched_level}; with {len(made)} levels it can be 1 to {len(made)}")
        self.multipliers = multipliers_of(weights, self.matched_level)
        # Layers beneath a slice, for costs in data space. A tuple keeps them out of the slice's own modules.
        self._beneath: tuple[LatentLayer, ...] = ()

    @property
    def depth(self) -> int:
        """The number of levels, N."""
        return len(self.levels)

    @property
    def layers(self) -> list[LatentLayer]:
        """The levels' layers, bottom first."""
        return [level.layer for level in self.levels]  # pyright: ignore[reportReturnType] # ModuleList forgets its item type

    @property
    def device(self) -> torch.device:
        """The device that the stack was moved to."""
        return self.prior.anchor.device

    @property
    def weights(self) -> tuple[float, ...]:
        """`w_0 = 1, w_1, …, w_k`, the products of Eq. 14."""
        return products(self.multipliers)

    @property
    def penalty_weights(self) -> tuple[float, ...]:
        """`λ^Σ_1 … λ^Σ_k` of Eq. 17."""
        return tuple(level.penalty_weight for level in self._matched_levels())

    @property
    def matched_prior(self) -> Prior:
        """The prior on the matched level: the deepest one's, or, where deeper levels follow, the ancestral one (Eq. 7)."""
        return self._prior(PLAIN)

    def _repr_html_(self) -> str:
        return html_table(self.levels, self.weights, self.matched_level)

    def forward(self, x: ArrayLike, *, data: Tensor | None = None, context: Context = PLAIN) -> Objective:
        """Evaluates Eq. 14 at data.

        Args:
            x: The data (B, *x); for a slice `stack[i:]`, codes `z_i`.
            data: For a slice in which a level has the data as its target: the data.
            context: How networks are run, draws taken and codes gathered.
        """
        x = self._admitted("x", x, self.layers[0].in_shape)
        levels = self._matched_levels()
        posteriors: list[Distribution] = []
        codes = [x]
        penalties = []
        for level in levels:
            with neutral(level.layer, codes[-1]):
                posteriors.append(context.encode(level.layer, codes[-1]))
            codes.append(context.draw(posteriors[-1]))
            penalties.append(_penalty(level, posteriors[-1], codes[-1]))
        divergence = self._divergence(codes[-1], context)
        costs = level_costs(levels, self._beneath, codes, data if self._beneath else x, context, _cost)
        return Objective.summed(
            costs,
            penalties,
            divergence,
            multipliers=self.multipliers,
            penalty_weights=self.penalty_weights,
            posteriors=posteriors,
            codes=codes[1:],
        )

    def _divergence(self, z: Tensor, context: Context) -> Tensor:
        """`D(Q_k, P_k)`."""
        z, prior = at_least_float32(context.gather(z)), self._prior(context)
        try:
            with full_precision(z.device), unchecked(not context.check), neutral(self.divergence, z):
                value = self.divergence.to_prior(z, prior)
        except PluginError:
            with own_randomness(0x5EED, z.device), neutral(prior):
                prior.sample(2)  # whose fault it may be
            raise
        return checked_result(self.divergence, value, (), lambda: z.requires_grad)

    def _prior(self, context: Context) -> Prior:
        return Ancestral(self.layers[self.matched_level :], self.prior, context) if self.matched_level < self.depth else self.prior

    def _matched_levels(self) -> list[Level]:
        return list(self.levels)[: self.matched_level]  # pyright: ignore[reportReturnType] # ModuleList forgets its item type

    def __getitem__(self, index: slice) -> Stack:
        start, stop, step = index.indices(self.depth)
        if step != 1 or stop != self.depth or start >= self.matched_level:
            raise IndexError(f"a stack is cut from below, as stack[i:] with i < {self.matched_level}, the level it is matched at")
        upper = Stack.__new__(Stack)
        nn.Module.__init__(upper)
        upper.levels = self.levels[start:]
        upper.divergence, upper.prior = self.divergence, self.prior
        upper.matched_level = self.matched_level - start
        upper.multipliers = self.multipliers[start:]
        upper._beneath = (*self._beneath, *self.layers[:start])
        return upper.train(self.training)

    # Using a trained stack: in evaluation mode, whatever mode it is in, and that is put back. What they are given can be an array, of
    # any precision and on any device. None of these builds a graph unless gradients are enabled by the caller.

    def encode(self, x: ArrayLike, *, sample: bool = False) -> list[Tensor]:
        """The codes `z_1 … z_N` of data (B, *x): the encoders' means, or one draw of each where `sample` is true.

        Raises:
            InputError: The data have another shape or scale than those a stack is trained on, or are not finite.
        """
        bottom = self.layers[0]
        x = self._admitted("x", x, bottom.in_shape)
        check_values("x", x, bottom.output_range, slack=0.5, reason=", the range of the bottom decoder's mean,")
        codes = []
        with evaluation_mode(self):
            for layer in self.layers:
                q = layer.encode(x.to(self.prior.anchor))  # float32 codes, of a stack brought to half precision too
                x = q.rsample() if sample else q.mean
                codes.append(x)
        return codes

    def decode(self, z: ArrayLike, level: int | None = None, *, sample: bool = False) -> Tensor:
        """Codes (B, *z) of a level (the deepest unless given, counted from 1) decoded to data, (B, *x).

        By the decoders' points, or with their noise at every latent level where `sample` is true; at the bottom still the point, unless
        the layer `draws_data`.
        """
        level = self._level(level)
        z = self._admitted("z", z, self.layers[level - 1].latent_shape)
        check_values("z", z)
        with evaluation_mode(self):
            for n, layer in reversed(list(enumerate(self.layers[:level]))):
                z = z.to(self.prior.anchor)
                z = layer.decode(z).rsample() if sample and (n > 0 or layer.draws_data) else layer.point(z)
        return z

    def reconstruct(self, x: ArrayLike, level: int | None = None, *, sample: bool = False) -> Tensor:
        """Data encoded up to a level and decoded from it: "reconstruction through level k"; by means unless `sample` is true."""
        level = self._level(level)
        z = self.encode(x, sample=sample)[level - 1]
        with unchecked():
            return self.decode(z, level, sample=sample)

    def _level(self, level: int | None) -> int:
        found = self.depth if level is None else level
        if not hasattr(found, "__index__") or not 1 <= found <= self.depth:
            raise InputError(f"level is {level!r}; a stack of {self.depth} levels decodes from 1 to {self.depth}")
        return int(found)

    def _admitted(self, name: str, given: ArrayLike, events: Shape) -> Tensor:
        """Brings a batch of events to the stack's device and precision; `InputError` for what is none."""
        floats = isinstance(given, Tensor) and given.is_floating_point()
        x = check_layout(name, given) if floats else as_tensor(name, given)  # pyright: ignore[reportArgumentType]
        check_events(name, x.shape[1:], events)
        if not x.is_floating_point():
            raise InputError(
                f"{name} holds bytes; floats in the range that the stack is trained on, such as {name} / 255, would work"
            )
        if x.is_inference() and not torch.is_inference_mode_enabled():
            x = x.clone()  # which a gradient can go through
        return x.to(self.prior.anchor)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """`n` ancestral samples of the model (Eq. 1), (n, *x): noise at every latent level, the point at the bottom.

        They are drawn and decoded in blocks of 32, the last one cut, so that under one seed fewer samples are the first of more.
        """
        at_least(0, n=n)
        with unchecked(), evaluation_mode(self):
            blocks = [self.decode(self.prior.sample(_BLOCK), sample=True) for _ in range(0, max(n, 1), _BLOCK)]
        return torch.cat(blocks)[:n]


def _cost(level: Level, z: Tensor, p: Distribution) -> Tensor:
    """`E c_n(z_n, z~_n)`, the mean over the batch, in float32 at least."""
    check_events("the prediction", shape_of(p)[1:], z.shape[1:])
    z = at_least_float32(z)
    with full_precision(z.device), neutral(level.cost, z, p):
        value = level.cost.expected(z, p)
    return checked_result(level.cost, value, z.shape[:1], lambda: z.requires_grad or p.mean.requires_grad).mean()


def _penalty(level: Level, q: Distribution, z: Tensor) -> Tensor:
    """The regulariser's mean over the batch; 0 where there is none."""
    if level.regulariser is None:
        return at_least_float32(z.new_zeros(()))
    with full_precision(z.device), neutral(level.regulariser, q):
        return level.regulariser(q).mean()


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
