"""Every layer of the plugin keeps the contract, over its options and over shapes."""

from __future__ import annotations

import pytest

from owae.testing import check_layer
from owae_layers.convolutional import Convolutional
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet


@pytest.mark.parametrize(
    ("in_shape", "options"),
    [
        ((1, 8, 8), {}),
        ((6,), {"hidden": [8], "output": "sigmoid"}),
        ((1, 4, 4), {"hidden": [8, 6], "output": "tanh", "decoder": "gaussian", "norm": "layer"}),
        ((6,), {"hidden": []}),
        ((3, 5, 3), {"hidden": [16], "norm": "none", "activation": "elu", "decoder": "deterministic"}),
    ],
)
def test_mlp(in_shape, options):
    check_layer(MLP, in_shape, latent=4, **options)


@pytest.mark.parametrize(
    ("in_shape", "options"),
    [
        ((3, 8, 8), {"resample": "down", "output": "sigmoid"}),
        ((3, 7, 9), {"resample": "down", "output": "tanh", "filter_size": 4}),
        ((6, 4, 4), {"filter_size": 5, "blocks": 0}),
        ((3, 5, 9), {"filter_size": 6, "blocks": 0, "resample": "down"}),
        ((1, 1, 7), {"filter_size": 2, "blocks": 3, "resample": "down"}),
        ((2, 4, 4), {"norm": "layer", "blocks": 1, "activation": "silu"}),
        ((2, 2, 2), {"norm": "none", "resample": "down", "decoder": "deterministic"}),
        ((4, 1, 1), {}),
    ],
)
def test_resnet(in_shape, options):
    check_layer(ResNet, in_shape, channels=2, filters=6, **options)


@pytest.mark.parametrize(
    ("in_shape", "options"),
    [
        ((1, 28, 28), {"output": "sigmoid"}),
        ((3, 7, 10), {"output": "tanh", "filter_size": 4, "decoder": "gaussian"}),
        ((2, 5, 6), {"channels": [3], "hidden": [], "norm": "layer"}),
        ((3, 9, 5), {"channels": [4, 3, 5], "hidden": [6, 7], "norm": "none", "activation": "silu", "filter_size": 5}),
        ((4, 1, 1), {}),
    ],
)
def test_convolutional(in_shape, options):
    check_layer(Convolutional, in_shape, latent=4, **({"channels": [6, 8], "hidden": [16]} | options))
