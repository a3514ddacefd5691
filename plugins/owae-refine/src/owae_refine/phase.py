"""Refinement as a phase of training: with the encoders as they are, every conditional is fitted under a proper score.

The encoders' chain `q(z_1 | x) … q(z_N | z_{N−1})` is Markov, and so is its reversal, whose conditionals are those of `z_{i−1}` given
`z_i`. If each `p(z_{i−1} | z_i)` matches its own, the model's joint distribution is the encoders', given that `z_N` matches its prior.
The cost of the method on a level compares `z_{i−1}` with `p(z_{i−1} | z_i)` at one draw of `q(z_i | z_{i−1})`. Where it is a
strictly proper score, its mean is least exactly there; the squared Euclidean cost is least where a decoder has lost its noise.
So refinement is the training of a stack with these costs, and nothing of the engine changes. Each conditional has parameters of its
own, so the weights of the levels do not matter and all are 1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

import owae
from owae.data.sources import as_source, examples
from owae.errors import ConfigError
from owae.interfaces import DataSource, LatentLayer, Phase
from owae.model.inference import evaluating
from owae.model.stack import Level, Stack
from owae_priors import GaussianMixture
from owae_refine.energy import EnergyScore
from owae_refine.layers import Frozen, Refined, Standardised
from owae_refine.whitening import rows_to_measure

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Refine(Phase):
    """Refines a trained stack: encoders and reconstructions stay as they are to the bit, conditionals learn to draw.

    Args:
        levels: The levels i whose `p(z_{i−1} | z_i)` is refined, counted from 1; all from 2 to the matched one unless given. At level 1 the
            data themselves are drawn, and samples then show draws.
        hidden: Widths of the networks' hidden layers.
        filters: Filters of their hidden convolutions, where a level joins two maps (C, H, W).
        draws: Draws a row that the energy score is estimated from.
        jitter: Standard deviation of the noise that training adds to codes, in standardised units.
        target_jitter: The same for what is to be drawn.
        prior_components: Components of a mixture of Gaussians that is fitted to the codes of the training examples at the deepest level and
            takes the prior's place, in samples and where codes are compared with their prior; the prior stays unless given.
        epochs: Passes over the data.
        batch_size: Rows of a batch.
        lr: The highest rate of AdamW in a one-cycle schedule.
        weight_decay: Its weight decay.
        clip_gradients: Largest norm of the whole gradient.
    """

    name = "refine"

    def __init__(
        self,
        *,
        levels: Sequence[Count] | None = None,
        hidden: Annotated[Sequence[Count], Field(min_length=1)] = (256, 256, 256),
        filters: Annotated[Sequence[Count], Field(min_length=1)] = (64, 64, 64),
        draws: Annotated[int, Field(ge=2)] = 4,
        jitter: NotNegative = 0.05,
        target_jitter: NotNegative = 0.02,
        prior_components: Count | None = None,
        epochs: Count = 150,
        batch_size: Annotated[int, Field(ge=2)] = 256,
        lr: Positive = 2e-3,
        weight_decay: NotNegative = 1e-3,
        clip_gradients: Positive = 5.0,
    ) -> None:
        self.levels = levels
        self.networks = {"hidden": tuple(hidden), "filters": tuple(filters), "jitter": jitter}
        self.draws, self.target_jitter, self.prior_components = draws, target_jitter, prior_components
        optimizer = {"name": "AdamW", "lr": lr, "weight_decay": weight_decay}
        self.training = one_cycle(epochs, batch_size, optimizer, clip_gradients)

    def options(self) -> Mapping[str, Any]:
        return self.training

    def extend(self, stack: Stack) -> Stack:
        """Returns the stack with its layers wrapped, which freezes them.

        Raises:
            ConfigError: The levels are none of the stack's, or there is none to refine.
        """
        matched = stack.matched_level
        chosen = range(2, matched + 1) if self.levels is None else self.levels
        if not chosen or not {*chosen} <= {*range(1, matched + 1)}:
            found = "levels unless given are those from 2 on" if self.levels is None else f"found levels = {list(chosen)}"
            raise ConfigError(
                f"{found}; of this stack, matched at level {matched}, any of {[*range(1, matched + 1)]} can be refined"
            )
        stack.requires_grad_(False)
        levels = [self._level(level, refined=i in chosen) for i, level in enumerate(stack.levels, start=1)]
        weights = [1.0] * (matched - 1) + [0.0]  # the divergence is computed for the log alone
        prior = stack.prior
        if self.prior_components is not None:
            prior = GaussianMixture(stack.prior.shape, components=self.prior_components, learn=False)
        return Stack(levels, divergence=stack.divergence, weights=weights, prior=prior, matched_level=matched)

    def _level(self, level: Any, *, refined: bool) -> Level:
        if not refined:
            return Level(Frozen(level.layer), cost=level.cost)
        layer = Refined(level.layer, **self.networks)
        return Level(layer, cost=Standardised(EnergyScore(draws=self.draws), layer, jitter=self.target_jitter))

    def prepare(self, stack: Stack, data: DataSource) -> None:
        """Measures the statistics of codes and of residuals, and fits the prior, on codes drawn for at most 10,000 examples."""
        deepest: list[torch.Tensor] = []
        measured: dict[LatentLayer, list[list[torch.Tensor]]] = {
            layer: [[], []] for layer in stack.layers if isinstance(layer, Refined)
        }
        with evaluating(stack) as device:
            for indices in rows_to_measure(data, stack.layers):
                z = examples(data, indices, device)
                for layer in stack.layers:
                    code = layer.encode(z).rsample()
                    if layer in measured:
                        codes, residuals = measured[layer]
                        codes.append(code)
                        residuals.append(z - layer.point(code))
                    z = code
                deepest.append(z)
        if self.prior_components is not None:
            assert isinstance(stack.prior, GaussianMixture)
            stack.prior.fit(torch.cat(deepest))
        for layer, (codes, residuals) in measured.items():
            assert isinstance(layer, Refined)
            layer.code.fit(torch.cat(codes))
            layer.residual.fit(torch.cat(residuals))


def refine(stack: Stack, data: object, *, seed: int = 0, device: str = "auto", **options: Any) -> Stack:
    """Refines a copy of a trained stack and returns it, in evaluation mode; what `[refine]` does in a config.

    Args:
        stack: The trained stack, which stays as it is.
        data: The examples that it was trained on: a source, tensor, array or sequence.
        seed: Decides the order of the examples. The networks and all noise follow from torch's own seed.
        device: Where to train.
        options: The arguments of `Refine`.

    Raises:
        ConfigError, DataError, TrainingError: As `Refine` and `owae.fit` say.
    """
    return train_phase(Refine(**options), stack, data, seed, device)


def one_cycle(epochs: int, batch_size: int, optimizer: Mapping[str, Any], clip_gradients: float | None = None) -> dict[str, Any]:
    """Returns the keys of [train] for a phase with a one-cycle schedule up to the optimiser's rate, whatever the first training had."""
    return {
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": 1,
        "optimizer": dict(optimizer),
        "schedule": {"name": "OneCycleLR", "max_lr": optimizer["lr"]},
        "warmup": 0,
        "clip_gradients": clip_gradients,
        "ema": None,
        "best": None,
    }


def train_phase(phase: Phase, stack: Stack, data: object, seed: int, device: str) -> Stack:
    """Trains a phase on a copy of a trained stack and returns what it made of it, in evaluation mode."""
    source = as_source(data, tuple(stack.layers[0].in_shape))
    extended = phase.extend(copy.deepcopy(stack))
    phase.prepare(extended, source)
    for _ in owae.fit(extended, phase.examples(source), seed=seed, device=device, **phase.options()):
        pass
    return extended.eval()
