"""The multilayer perceptron: shapes, widths, heads, and batches of one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from owae.registry.options import options_model, validated
from owae_layers.mlp import MLP


def widths(network: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


def test_the_papers_mnist_levels():
    shape, x = (1, 28, 28), torch.rand(2, 1, 28, 28)
    for i, (latent, width) in enumerate([(32, 2048), (16, 1024), (8, 512), (4, 256), (2, 128)]):
        layer = MLP(shape, latent=latent, hidden=[width, width], output="sigmoid" if i == 0 else "linear")
        assert widths(layer.encoder) == [(x[0].numel(), width), (width, width), (width, 2 * latent)]
        assert widths(layer.decoder) == [(latent, width), (width, width), (width, x[0].numel() * (1 if i == 0 else 2))]
        assert [type(m).__name__ for m in layer.encoder][:3] == ["Linear", "BatchNorm1d", "ReLU"]
        with torch.no_grad():
            z = layer.encode(x).rsample()
            p = layer.decode(z)
        assert z.shape == (2, *layer.latent_shape) == (2, latent)
        assert p.mean.shape == p.variance.shape == x.shape
        assert bool(p.variance.gt(0).all()) is (i > 0)  # only p(x | z_1) is deterministic
        shape, x = layer.latent_shape, z


@pytest.mark.parametrize(
    ("shape", "hidden"), [((7,), [6]), ((1, 8, 8), []), ((3, 45, 33), [6, 5, 4]), ((2, 3, 4, 5), [6]), ((1,), [6, 5, 4])]
)
@pytest.mark.parametrize("decoder", ["gaussian", "deterministic"])
def test_any_shape_and_depth(shape, hidden, decoder):
    layer = MLP(shape, latent=3, hidden=hidden, decoder=decoder)
    p = layer.decode(layer.encode(torch.randn(4, *shape)).rsample())
    assert p.mean.shape == p.variance.shape == (4, *shape)
    assert layer.summary() == (", ".join(map(str, hidden)) or "linear")


def test_the_decoder_mirrors_the_encoders_widths():
    layer = MLP((9,), latent=2, hidden=[6, 5, 4])
    assert widths(layer.encoder) == [(9, 6), (6, 5), (5, 4), (4, 4)]
    assert widths(layer.decoder) == [(2, 4), (4, 5), (5, 6), (6, 18)]


def test_mean_and_variance_are_the_two_halves_of_one_output():
    layer = MLP((2, 3), latent=2, hidden=[])
    z = torch.randn(5, 2)
    mean, logit = layer.decoder(z).split(6, dim=1)
    p = layer.decode(z)
    torch.testing.assert_close(p.mean, mean.unflatten(1, (2, 3)))
    torch.testing.assert_close(p.variance, nn.functional.softplus(logit).unflatten(1, (2, 3)))


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_gradients_reach_every_parameter(norm):
    torch.manual_seed(0)
    layer = MLP((4,), latent=3, hidden=[8, 8], norm=norm)
    p = layer.decode(layer.encode(torch.randn(16, 4)).rsample())
    (p.mean.square().sum() + p.variance.square().sum()).backward()
    without = [name for name, parameter in layer.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


def test_heads_and_ranges():
    for output, bounds in [("sigmoid", (0.0, 1.0)), ("tanh", (-1.0, 1.0)), ("linear", None)]:
        for decoder in [None, "gaussian", "deterministic"]:
            layer = MLP((4,), latent=2, hidden=[8], output=output, decoder=decoder)
            p = layer.decode(100 * torch.randn(64, 2))
            assert layer.output_range == bounds
            if bounds:
                assert bounds[0] <= p.mean.min() < p.mean.max() <= bounds[1]
            assert bool(p.variance.any()) is (decoder == "gaussian" or (decoder is None and output == "linear"))


def test_a_batch_of_one():
    x = torch.randn(1, 4)
    layer = MLP((4,), latent=2, hidden=[8])
    with pytest.raises(ValueError, match=r"batch norm cannot be trained on one value a channel.*\(1, 8\).*at least two.*eval\(\)"):
        layer.encode(x)
    with pytest.raises(ValueError, match="batch norm cannot be trained"):
        layer.decode(torch.randn(1, 2))
    assert layer.eval().encode(x).mean.shape == (1, 2)
    for other in [MLP((4,), latent=2, hidden=[8], norm="layer"), MLP((4,), latent=2, hidden=[])]:
        assert other.decode(other.encode(x).mean).mean.shape == (1, 4)


def test_momentum_and_eps_reach_every_norm():
    layer = MLP((4,), latent=2, hidden=[8, 8], momentum=0.25, eps=0.125)
    norms = [m for m in layer.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == 4
    assert {(m.momentum, m.eps) for m in norms} == {(0.25, 0.125)}
    assert {m.eps for m in MLP((4,), latent=2, norm="layer", eps=0.125).modules() if isinstance(m, nn.LayerNorm)} == {0.125}


@pytest.mark.parametrize("how", ["kaiming", "xavier", "orthogonal"])
def test_initialisation(how):
    layer = MLP((256,), latent=16, hidden=[256], initialisation=how)
    assert all(not m.bias.any() for m in layer.modules() if isinstance(m, nn.Linear) and m.bias is not None)
    spread = {"kaiming": (2 / 256) ** 0.5, "xavier": (2 / 512) ** 0.5, "orthogonal": 2**0.5 / 16}[how]
    weight = layer.encoder[0].weight
    assert isinstance(weight, torch.Tensor)
    torch.testing.assert_close(weight.std().item(), spread, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "latent"),
        ({"latent": 0}, "latent"),
        ({"latent": 2.5}, "latent"),
        ({"latent": True}, "latent"),
        ({"latent": 2, "hidden": [16, 0]}, "hidden[1]"),
        ({"latent": 2, "hidden": 16}, "hidden"),
        ({"latent": 2, "norm": "bach"}, "norm"),
        ({"latent": 2, "activation": "rleu"}, "activation"),
        ({"latent": 2, "output": "sigmiod"}, "output"),
        ({"latent": 2, "decoder": "gausian"}, "decoder"),
        ({"latent": 2, "momentum": 0.0}, "momentum"),
        ({"latent": 2, "eps": -1.0}, "eps"),
        ({"latent": 2, "widths": [3]}, "widths"),
    ],
)
def test_options_are_refused_with_their_place(options, place):
    _, problems = validated(options_model(MLP), options)
    assert [problem.place for problem in problems] == [place]
