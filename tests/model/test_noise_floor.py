"""The noise floor: its law, what it leaves alone, what it remembers."""

import math

import pytest
import torch
from torch import Tensor, nn

from owae.distributions import Dirac
from owae.interfaces import Divergence, LatentLayer, Prior
from owae.model.defaults import Ancestral, StandardNormal
from owae.model.noise_floor import NoiseFloor, noise_floor


class MeanGap(Divergence):
    """`‖mean x − mean y‖²`, whose law under equal distributions is known: `2/n · χ²_d`."""

    name = "mean-gap"

    def __init__(self, *, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.calls = 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * (x.mean(0) - y.mean(0)).square().sum()


class Flatten(LatentLayer):
    """A decoder with batch norm, which would take note of what it is shown in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.in_shape, self.latent_shape = (3,), (3,)
        self.norm = nn.BatchNorm1d(3)

    def encode(self, x: Tensor) -> Dirac:
        return Dirac(x)

    def decode(self, z: Tensor) -> Dirac:
        return Dirac(self.norm(z))


@pytest.mark.parametrize(("n", "shape"), [(50, (2, 4)), (1, (1,))])
def test_it_is_the_law_of_the_value_under_equal_distributions(n: int, shape: tuple[int, ...]):
    d, repeats = math.prod(shape), 2000
    floor = noise_floor(MeanGap(), StandardNormal(shape), n, repeats=repeats)
    mean, deviation = 2 * d / n, 2 * math.sqrt(2 * d) / n
    assert floor.mean == pytest.approx(mean, abs=5 * deviation / math.sqrt(repeats))
    assert floor.deviation == pytest.approx(deviation, rel=0.25)
    assert (floor.n, floor.repeats) == (n, repeats)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
def test_it_leaves_random_numbers_gradient_mode_and_modules_alone(training: bool, enabled: bool):
    layer = Flatten().train(training)
    layer.norm.eval()
    before = torch.get_rng_state(), {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.set_grad_enabled(enabled):
        floor = noise_floor(MeanGap(), Ancestral([layer], StandardNormal((3,))), 8)
        assert torch.is_grad_enabled() == enabled
    assert math.isfinite(floor.mean)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert layer.training == training
    assert not layer.norm.training
    assert all(torch.equal(value, before[1][name]) for name, value in layer.state_dict().items())


def test_batch_statistics_of_a_training_decoder_stay_as_they_were():
    layer = Flatten().train()
    noise_floor(MeanGap(), Ancestral([layer], StandardNormal((3,))), 8)
    assert layer.norm.num_batches_tracked == 0
    assert layer.norm.training


def test_it_does_not_depend_on_the_seed():
    prior, floors = StandardNormal((3,)), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        floors.append(noise_floor(MeanGap(), prior, 8))
    assert floors[0] == floors[1]


def test_it_is_that_of_the_divergence_as_it_is():
    divergence, prior = MeanGap(), StandardNormal((3,))
    assert noise_floor(MeanGap(factor=2.0), prior, 8).mean == pytest.approx(2 * noise_floor(divergence, prior, 8).mean)


def test_it_follows_what_training_changes():
    class Scaled(Prior):
        name = "scaled"

        def __init__(self, shape: tuple[int, ...], /) -> None:
            super().__init__(shape)
            self.scale = nn.Parameter(torch.ones(()))

        def sample(self, n: int) -> Tensor:
            return self.scale * torch.randn(n, *self.shape)

    divergence, prior = MeanGap(), Scaled((3,))
    first = noise_floor(divergence, prior, 8)
    with torch.no_grad():
        prior.scale.mul_(3)
    assert noise_floor(divergence, prior, 8).mean == pytest.approx(9 * first.mean, rel=1e-5)


@pytest.mark.parametrize(("n", "repeats"), [(0, 8), (8, 1)])
def test_too_little_to_simulate_is_refused(n: int, repeats: int):
    with pytest.raises(ValueError, match="at least 1 sample and 2 repeats"):
        noise_floor(MeanGap(), StandardNormal((3,)), n, repeats=repeats)


def test_it_reads_as_value_and_deviation():
    assert str(NoiseFloor(0.123456, 0.0123, 8, 32)) == "0.1235 ± 0.012"


@pytest.mark.gpu
def test_a_gpu_s_random_numbers_are_left_alone_too(device: torch.device):
    if device.type == "cpu":
        pytest.skip("the CPU is looked at above")
    module = torch.get_device_module(device)
    prior = StandardNormal((3,)).to(device)
    torch.randn(3, device=device)
    before = module.get_rng_state(), torch.get_rng_state()
    floor = noise_floor(MeanGap(), prior, 8)
    assert floor == noise_floor(MeanGap(), prior, 8)
    assert torch.equal(module.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
