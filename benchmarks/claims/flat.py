"""Models without a hierarchy that a sceptic would name: autoencoders with a mixture fitted to their codes, a WAE, a two-stage VAE.

Each is made of owae's own parts, so that data, loop, optimiser, schedule and budget are those of the stacks; widths are chosen so that
the number of parameters is theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from owae import Registry, Stack, fit
from owae.model.inference import evaluating
from owae.model.level import Level

AUTOENCODER, NARROW, WAE, VAE = "autoencoder 32-D + mixture", "autoencoder 2-D + mixture", "WAE 32-D", "two-stage VAE"
MIXTURE = 50  # Gaussians with full covariances


@dataclass(frozen=True)
class Flat:
    """A trained model without a hierarchy.

    Attributes:
        stack: One level.
        codes: Draws codes (n, d) as the model does when it samples.
    """

    stack: Stack
    codes: Callable[[int], Tensor]

    def sample(self, n: int, seed: int) -> Tensor:
        """Draws pictures (n, *x): the decoder's mean at drawn codes."""
        with evaluating(self.stack, seed):
            return self.stack.decode(self.codes(n), 1)


def configs(bottom: dict[str, Any], cost: dict[str, Any] | None, train: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By model, a config as TOML values.

    Args:
        bottom: The layer between data and z_1 of the stacks that are compared with, as a config has it.
        cost: Their cost at the data; None for the squared one.
        train: Their `[train]`.
    """

    def one_level(latent: int, match: float) -> dict[str, Any]:
        level = {"layer": {**bottom, "latent": latent}, **({} if cost is None else {"cost": cost})}
        return {"levels": [level], "divergence": {"kind": "mmd"}, "weights": {"match": match}}

    models = {
        AUTOENCODER: one_level(32, 0.0),
        NARROW: one_level(2, 0.0),
        WAE: one_level(32, 10.0),
        VAE: {
            "levels": [{"layer": {**bottom, "latent": 32}, "cost": {"kind": "gaussian-nll", "variance": 0.05}}],
            "regulariser": {"kind": "entropy"},
            "divergence": {"kind": "cross-entropy"},
            "weights": {"match": 1.0, "regulariser": {"rule": "constant", "value": 1.0}},
        },
    }
    return {name: {"data": {"kind": "mnist-5k"}, "train": train, **copy.deepcopy(values)} for name, values in models.items()}


def flat(name: str, stack: Stack, data: Tensor, seed: int) -> Flat:
    """Makes a trained stack of one level a model to sample: with a mixture, its prior or a second VAE, as the model's name says.

    Args:
        name: One of this module's names.
        stack: What was trained.
        data: The training examples (n, *x).
        seed: Decides draws and the fit.
    """
    if name == WAE:
        return Flat(stack, stack.prior.sample)
    if name == VAE:
        with evaluating(stack, seed):
            draws = torch.cat([stack.layers[0].encode(data).rsample() for _ in range(4)])
        return Flat(stack, _second_vae(draws, seed))
    with evaluating(stack):
        (codes,) = stack.encode(data)
    return Flat(stack, _mixture(codes, seed))


def _mixture(codes: Tensor, seed: int) -> Callable[[int], Tensor]:
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(MIXTURE, reg_covar=1e-4, random_state=seed).fit(codes.double().numpy())
    weights, means, covariances = (torch.from_numpy(each) for each in (fitted.weights_, fitted.means_, fitted.covariances_))
    factors = torch.linalg.cholesky(covariances)

    def draw(n: int) -> Tensor:
        which = weights.multinomial(n, replacement=True)
        noise = torch.randn(n, codes.shape[1], 1, dtype=means.dtype)
        return (means[which] + (factors[which] @ noise).squeeze(2)).to(codes.dtype)

    return draw


def _second_vae(codes: Tensor, seed: int, epochs: int = 60) -> Callable[[int], Tensor]:
    """Fits a VAE with decoder variances of its own to draws of codes (Dai and Wipf, 2019); they are standardised meanwhile."""
    mean, spread = codes.mean(0), codes.std(0)
    registry = Registry.discover()
    torch.manual_seed(seed)
    second = Stack(
        [
            Level(
                registry.create("layer", "mlp", tuple(codes.shape[1:]), latent=codes.shape[1], hidden=[512, 512]),
                cost=registry.create("cost", "gaussian-nll"),
                regulariser=registry.create("regulariser", "entropy"),
                penalty_weight=1.0,
            )
        ],
        divergence=registry.create("divergence", "cross-entropy"),
        weights=[1.0],
    )
    schedule = {"name": "OneCycleLR", "max_lr": 3e-3}
    for _ in fit(second, (codes - mean) / spread, epochs=epochs, batch_size=256, seed=seed, schedule=schedule, device="cpu"):
        pass

    def draw(n: int) -> Tensor:
        second.eval()
        return second.layers[0].decode(second.prior.sample(n)).rsample() * spread + mean

    return draw
