"""The perceptual cost: its contract, what it refuses, and that its network is no part of a model."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from owae.errors import ConfigError, DataError, InputError
from owae.testing import check_cost
from owae_costs.perceptual import Perceptual


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of SqueezeNet's weights, drawn at random."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    torch.manual_seed(0)
    save_file(models.squeezenet1_1(weights=None).state_dict(), path)
    return path


def cost(path, **options):
    return Perceptual(path=path, network="squeezenet1_1", layers=[1, 4], **options)


@pytest.mark.slow  # ten thousand draws
def test_contract(weights):
    # Before the first rectifier: at the kinks of thousands of them differences say nothing of a gradient.
    check_cost(Perceptual(path=weights, network="squeezenet1_1", layers=[0]), shape=(3, 9, 9))


def test_equal_features_cost_nothing_and_grey_is_three_channels(weights):
    x, y = torch.rand(2, 4, 1, 17, 16)
    grey, colours = cost(weights), cost(weights)
    assert torch.equal(grey(x, x), torch.zeros(4))
    torch.testing.assert_close(3 * grey(x, y), colours(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(cost(weights, value_range=(-1.0, 1.0))(2 * x - 1, 2 * y - 1), grey(x, y), rtol=1e-4, atol=1e-6)
    assert torch.isfinite(torch.autograd.grad(grey(x, z := torch.zeros_like(x, requires_grad=True)).sum(), z)[0]).all()


def test_one_layer_is_the_distance_of_its_directions(weights):
    x, y = torch.rand(2, 3, 3, 12, 12)
    network = models.squeezenet1_1(weights=None)
    from safetensors.torch import load_file

    network.load_state_dict(load_file(weights))
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    a, b = (torch.nn.functional.normalize(network.features[:2]((each - mean) / deviation), dim=1) for each in (x, y))
    oracle = 3 * 144 * (2 - 2 * (a * b).sum(1)).flatten(1).mean(1)
    torch.testing.assert_close(Perceptual(path=weights, network="squeezenet1_1", layers=[1])(x, y), oracle, rtol=1e-3, atol=1e-3)


def test_its_network_is_no_part_of_a_model(weights):
    made = cost(weights)
    assert not list(made.parameters())
    assert not made.state_dict()


def test_what_it_cannot_use_is_said(weights, tmp_path):
    with pytest.raises(InputError, match=r"found events of shape \(4, 9, 9\)"):
        cost(weights)(torch.rand(1, 4, 9, 9), torch.rand(1, 4, 9, 9))
    with pytest.raises(DataError, match="other weights than those of torchvision's alexnet"):
        Perceptual(path=weights, network="alexnet")
    with pytest.raises(ConfigError, match="has the layers 0 to 12"):
        Perceptual(path=weights, network="squeezenet1_1", layers=[13])
    with pytest.raises(DataError, match="cannot be read as weights"):
        cost(tmp_path / "none.pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(DataError, match="cannot be read as weights"):
        cost(tmp_path / "code.pth")
