"""The convolutional network: shapes, filters and widths, images of any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from owae.errors import ConfigError
from owae.registry.options import options_model, validated
from owae_layers.convolutional import Convolutional


def sizes(network: nn.Module) -> list[tuple[int, int]]:
    """Inputs and outputs of each layer with weights: features of a linear one, channels of a convolution."""
    return [
        (m.in_features, m.out_features) if isinstance(m, nn.Linear) else (m.in_channels, m.out_channels)
        for m in network.modules()
        if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    ]


def test_the_decoder_mirrors_the_encoder():
    layer = Convolutional((1, 28, 28), latent=32, channels=[32, 64], hidden=[256], output="sigmoid")
    assert sizes(layer.encoder) == [(1, 32), (32, 64), (64 * 7 * 7, 256), (256, 64)]
    assert sizes(layer.decoder) == [(32, 256), (256, 64 * 7 * 7), (64, 32), (32, 1)]
    assert layer.latent_shape == (32,)
    assert layer.summary() == "3×3, 32, 64; 256"
    straight = Convolutional((2, 8, 8), latent=3, channels=[5], hidden=[], filter_size=4)
    assert sizes(straight.encoder) == [(2, 5), (5 * 4 * 4, 6)]
    assert sizes(straight.decoder) == [(3, 5 * 4 * 4), (5, 4)]  # mean and variance of two channels
    assert straight.summary() == "4×4, 5"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 45, 33), (1, 2, 3), (2, 1, 1), (1, 1, 8)])
def test_images_of_any_size_come_back_at_their_own(shape, size):
    layer = Convolutional(shape, latent=3, channels=[4, 4, 4], filter_size=size, output="sigmoid")
    x = torch.rand(2, *shape)
    assert layer.decode(layer.encode(x).mean).mean.shape == x.shape


def test_hidden_layers_are_normalised_and_the_last_has_a_bias():
    layer = Convolutional((1, 8, 8), latent=2, channels=[4, 6], hidden=[16], momentum=0.25, eps=0.125)
    for network in (layer.encoder, layer.decoder):
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert [(m.momentum, m.eps) for m in norms] == [(0.25, 0.125)] * 3
        *inner, last = (m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d))
        assert last.bias is not None
        assert all(m.bias is None for m in inner)


def test_a_pixel_reaches_its_neighbourhood_alone():
    """The way down is made of convolutions: a change of one pixel of the smallest map stays near it."""
    layer = Convolutional((1, 32, 32), latent=2, channels=[3, 3], norm="none", output="linear", decoder="deterministic").eval()
    after = next(i for i, module in enumerate(layer.decoder) if isinstance(module, nn.Unflatten)) + 1
    maps = torch.rand(1, 3, 8, 8)
    changed = maps.clone()
    changed[..., 2, 5] += 1
    difference = (layer.decoder[after:](changed) - layer.decoder[after:](maps)).detach()[0, 0]
    rows, columns = difference.abs().gt(1e-6).nonzero(as_tuple=True)
    assert len(rows) > 0
    assert (rows.min() >= 4, rows.max() < 16, columns.min() >= 16, columns.max() < 28) == (True,) * 4


@pytest.mark.parametrize("shape", [(32,), (8, 8), (1, 3, 8, 8)])
def test_only_images(shape):
    with pytest.raises(ConfigError, match=r"convolutional takes images, \(channels, height, width\).*use mlp there"):
        Convolutional(shape, latent=2)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_gradients_reach_every_parameter(norm):
    torch.manual_seed(0)
    layer = Convolutional((2, 5, 5), latent=2, channels=[4, 4], hidden=[8], norm=norm)
    p = layer.decode(layer.encode(torch.randn(8, 2, 5, 5)).rsample())
    (p.mean.square().sum() + p.variance.square().sum()).backward()
    without = [name for name, parameter in layer.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "latent"),
        ({"latent": 2, "channels": []}, "channels"),
        ({"latent": 2, "channels": [8, 0]}, "channels[1]"),
        ({"latent": 2, "channels": 8}, "channels"),
        ({"latent": 2, "hidden": [-1]}, "hidden[0]"),
        ({"latent": 2, "filter_size": 0}, "filter_size"),
    ],
)
def test_options_are_refused_with_their_place(options, place):
    _, problems = validated(options_model(Convolutional), options)
    assert [problem.place for problem in problems] == [place]
