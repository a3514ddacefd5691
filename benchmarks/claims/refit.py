"""Encoders for levels that an objective left without one.

Under Eq. 8 the encoders above z_1 are never trained, so what they show of the deeper levels says little. Here they are fitted
afterwards, with the decoders and the first encoder as they are, to lose as little of the pixels as possible: the best that can be
said for those levels.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from owae import Stack, fit
from owae.interfaces import DataSource
from owae.model.stack import Level


def with_fitted_encoders(stack: Stack, data: DataSource, epochs: int, seed: int) -> Stack:
    """A copy of the stack whose encoders above z_1 minimise `Σ_i ‖x − G_i(z~_i)‖²` and the divergence at the top."""
    layers = copy.deepcopy(stack.layers)
    torch.manual_seed(seed)
    for layer in layers[1:]:
        for module in layer.encoder.modules():  # pyright: ignore[reportAttributeAccessIssue] # these are perceptrons
            if isinstance(module, nn.Linear | nn.BatchNorm1d):
                module.reset_parameters()
    refit = Stack(
        [Level(layer, space="data", target="data") for layer in layers],
        divergence=copy.deepcopy(stack.divergence),
        weights=[1.0] * len(layers),
    )
    refit.requires_grad_(False).train()
    layers[0].eval()
    for layer in layers[1:]:
        layer.eval()
        layer.encoder.requires_grad_(True).train()  # pyright: ignore[reportAttributeAccessIssue]
    for _ in fit(refit, data, epochs=epochs, seed=seed, schedule={"name": "OneCycleLR", "max_lr": 3e-3}, device="cpu"):
        pass
    return refit.eval()
