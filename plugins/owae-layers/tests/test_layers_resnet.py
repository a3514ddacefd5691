"""The residual network: the paper's tables row by row, and maps of any size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from owae.errors import ConfigError
from owae.interfaces import Divergence
from owae.model.stack import Stack
from owae_layers.parts import Convolution, TransposedConvolution
from owae_layers.resnet import ResNet


class Means(Divergence):
    name = "means"

    def forward(self, x, y):
        return (x.mean(0) - y.mean(0)).square().sum()


SVHN = [
    # filter, filters, resample, z_i (H, W, C), d_i
    (5, 64, "down/up", (16, 16, 2), 512),
    (3, 64, "none", (16, 16, 1), 256),
    (3, 96, "down/up", (8, 8, 2), 128),
    (3, 96, "none", (8, 8, 1), 64),
    (3, 128, "down/up", (4, 4, 2), 32),
    (3, 128, "none", (4, 4, 1), 16),
]
CELEBA = [
    (7, 64, "down/up", (32, 32, 8), 8192),
    (5, 64, "none", (32, 32, 6), 6144),
    (3, 64, "none", (32, 32, 4), 4096),
    (3, 64, "down/up", (16, 16, 8), 2048),
    (3, 96, "none", (16, 16, 6), 1536),
    (3, 96, "none", (16, 16, 4), 1024),
    (3, 96, "down/up", (8, 8, 8), 512),
    (3, 128, "none", (8, 8, 6), 384),
    (3, 128, "none", (8, 8, 4), 256),
    (3, 128, "down/up", (4, 4, 8), 128),
]


@pytest.mark.parametrize(("image", "output", "table"), [((3, 32, 32), "sigmoid", SVHN), ((3, 64, 64), "tanh", CELEBA)])
def test_the_papers_tables(image, output, table):
    shape, x = image, torch.rand(2, *image)
    for i, (size, filters, resample, (height, width, channels), dimension) in enumerate(table):
        layer = ResNet(
            shape,
            channels=channels,
            filters=filters,
            filter_size=size,
            resample="down" if resample == "down/up" else "none",
            output=output if i == 0 else "linear",
        )
        assert layer.latent_shape == (channels, height, width)
        assert math.prod(layer.latent_shape) == dimension
        assert layer.summary() == f"{size}×{size}, {filters}, {resample}"
        with torch.no_grad():
            q = layer.encode(x)
            z = q.rsample()
            p = layer.decode(z)
        assert q.mean.shape == q.variance.shape == (2, *layer.latent_shape)
        assert p.mean.shape == p.variance.shape == x.shape
        assert bool(p.variance.gt(0).all()) is (i > 0)  # only p(x | z_1) is deterministic
        shape, x = layer.latent_shape, z


def convolutions(network: nn.Module) -> list[tuple[int, int, int]]:
    return [
        (m.in_channels, m.out_channels, m.stride[0]) for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]


def test_filters_double_downward_and_halve_upward_in_the_resampling():
    layer = ResNet((3, 16, 16), channels=2, filters=8, resample="down")
    assert convolutions(layer.encoder) == [(3, 8, 1), (8, 8, 1), (8, 16, 2), (3, 16, 2), (16, 4, 1)]
    assert convolutions(layer.decoder) == [(2, 4, 2), (4, 8, 1), (8, 8, 1), (2, 8, 2), (8, 6, 1)]


@pytest.mark.parametrize("blocks", [0, 1, 2, 4])
@pytest.mark.parametrize("resample", ["none", "down"])
def test_any_number_of_blocks(blocks, resample):
    layer = ResNet((3, 6, 6), channels=2, filters=5, resample=resample, blocks=blocks)
    # blocks, the resampling, the skip and the last one; nothing but convolutions and their norms is learnt.
    assert len(convolutions(layer.encoder)) == len(convolutions(layer.decoder)) == blocks + 3
    x = torch.rand(3, 3, 6, 6)
    assert layer.decode(layer.encode(x).mean).mean.shape == x.shape


def test_skip_is_the_identity_where_size_and_channels_agree():
    same = ResNet((4, 8, 8), channels=4, filters=4)
    assert isinstance(same.encoder.skip, nn.Identity)
    assert isinstance(same.decoder.skip, nn.Identity)
    for other in [ResNet((3, 8, 8), channels=3, filters=4), ResNet((4, 8, 8), channels=4, filters=4, resample="down")]:
        assert not isinstance(other.encoder.skip, nn.Identity)
        assert not isinstance(other.decoder.skip, nn.Identity)
    uneven = ResNet((4, 8, 8), channels=2, filters=4)
    assert isinstance(uneven.encoder.skip, nn.Identity)
    assert not isinstance(uneven.decoder.skip, nn.Identity)


@pytest.mark.parametrize(
    ("size", "norm"), [(1, "batch"), (2, "layer"), (3, "batch"), (3, "none"), (4, "batch"), (5, "none"), (7, "layer")]
)
def test_odd_and_tiny_maps_come_back_at_their_own_size(size, norm):
    for height, width in [(45, 45), (45, 33), (2, 3), (1, 1), (1, 8)]:
        layer = ResNet((3, height, width), channels=2, filters=4, filter_size=size, resample="down", norm=norm, output="sigmoid")
        assert layer.latent_shape == (2, (height + 1) // 2, (width + 1) // 2)
        x = torch.rand(2, 3, height, width)
        assert layer.encode(x).mean.shape == (2, *layer.latent_shape)
        assert layer.decode(layer.encode(x).mean).mean.shape == x.shape


@pytest.mark.parametrize(("size", "blocks"), [(2, 1), (3, 0), (4, 3), (7, 1)])
def test_a_stack_goes_down_to_one_pixel_and_comes_back(size, blocks):
    torch.manual_seed(0)
    layers, shape, heights = [], (3, 45, 29), [45]
    while shape[1:] != (1, 1):
        layer = ResNet(shape, channels=2, filters=3, filter_size=size, resample="down", blocks=blocks)
        layers.append(layer)
        shape = layer.latent_shape
        heights.append(shape[1])
    assert heights == [45, 23, 12, 6, 3, 2, 1]
    stack = Stack(layers, divergence=Means(), weights=[0.5] * len(layers))
    stack(torch.rand(4, 3, 45, 29)).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in stack.parameters())
    stack.eval()
    for level in range(1, 7):
        assert stack.reconstruct(torch.rand(1, 3, 45, 29), level).shape == (1, 3, 45, 29)
    assert stack.sample(2).shape == (2, 3, 45, 29)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_keeps_features_where_they_are(size, stride):
    """A filter that only passes its middle (of an even one, the near middle) on gives every `stride`-th pixel."""
    layer = Convolution(1, 1, size, stride=stride, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, (size - 1) // 2, (size - 1) // 2] = 1
    x = torch.rand(2, 1, 7, 10)
    assert torch.equal(layer(x), x[..., ::stride, ::stride])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "3×3, 64, none"),
        ({"filter_size": 4, "filters": 7, "resample": "down"}, "4×4, 7, down/up"),
        ({"blocks": 1}, "3×3, 64, none, 1 block"),
        ({"blocks": 0}, "3×3, 64, none, 0 blocks"),
    ],
)
def test_the_summary_tells_what_is_not_the_papers(options, words):
    assert ResNet((3, 8, 8), channels=2, **options).summary() == words


@pytest.mark.parametrize("size", range(1, 8))
def test_the_transposed_convolution_is_the_adjoint_of_the_strided_one(size):
    for pixels in (1, 2, 5, 6, 45):
        down = Convolution(2, 3, size, stride=2, bias=False).double()
        up = TransposedConvolution(3, 2, size, target=(pixels, pixels), bias=False).double()
        with torch.no_grad():
            up.weight.copy_(down.weight)
        x = torch.randn(1, 2, pixels, pixels, dtype=torch.float64)
        y = torch.randn(1, 3, (pixels + 1) // 2, (pixels + 1) // 2, dtype=torch.float64)
        torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


def test_modules_still_move_and_change_their_dtype():
    layer = ResNet((3, 8, 8), channels=2, filters=4, resample="down").double().to(torch.float64)
    assert layer.decode(layer.encode(torch.rand(2, 3, 8, 8, dtype=torch.float64)).mean).mean.dtype == torch.float64


@pytest.mark.parametrize("resample", ["none", "down"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_gradients_reach_every_parameter(resample, norm):
    torch.manual_seed(0)
    layer = ResNet((2, 5, 5), channels=2, filters=4, resample=resample, norm=norm)
    p = layer.decode(layer.encode(torch.randn(8, 2, 5, 5)).rsample())
    (p.mean.square().sum() + p.variance.square().sum()).backward()
    without = [name for name, parameter in layer.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


def test_a_top_map_of_one_pixel():
    layer = ResNet((4, 1, 1), channels=2, filters=4, resample="down")
    layer.encode(torch.rand(2, 4, 1, 1))
    with pytest.raises(ValueError, match=r"batch norm cannot be trained on one value a channel.*\(1, 4, 1, 1\).*at least two"):
        layer.encode(torch.rand(1, 4, 1, 1))
    assert layer.eval().encode(torch.rand(1, 4, 1, 1)).mean.shape == (1, 2, 1, 1)
    ResNet((4, 2, 2), channels=2, filters=4).encode(torch.rand(1, 4, 2, 2))  # four values a channel are enough


@pytest.mark.parametrize("shape", [(32,), (8, 8), (1, 3, 8, 8)])
def test_only_images(shape):
    with pytest.raises(ConfigError, match=r"resnet takes images, \(channels, height, width\).*use mlp there"):
        ResNet(shape, channels=2)


def test_heads_and_ranges():
    x = 100 * torch.randn(4, 3, 6, 6)
    for output, bounds in [("sigmoid", (0.0, 1.0)), ("tanh", (-1.0, 1.0)), ("linear", None)]:
        for decoder in [None, "gaussian", "deterministic"]:
            layer = ResNet((3, 6, 6), channels=2, filters=4, output=output, decoder=decoder)
            p = layer.decode(layer.encode(x).mean)
            assert layer.output_range == bounds
            if bounds:
                assert bounds[0] <= p.mean.min() < p.mean.max() <= bounds[1]
            assert bool(p.variance.any()) is (decoder == "gaussian" or (decoder is None and output == "linear"))


@pytest.mark.parametrize(
    ("how", "activation"),
    [
        ("torch", "relu"),
        ("kaiming", "leaky-relu"),
        ("xavier", "tanh"),
        ("orthogonal", "elu"),
        ("kaiming", "gelu"),
        ("xavier", "silu"),
    ],
)
def test_initialisations_and_activations_give_finite_outputs(how, activation):
    layer = ResNet((1, 4, 4), channels=1, filters=2, initialisation=how, activation=activation)
    assert layer.encode(torch.rand(4, 1, 4, 4)).mean.isfinite().all()
