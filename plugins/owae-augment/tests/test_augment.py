"""[augment]: what each transform does to training batches, that nothing else decides it than seed, epoch and index, and logits."""

from __future__ import annotations

import pytest
import tiny
import torch
from fixtures import make, registry
from interruption import contents, interrupt_at
from listed import OneByOne
from torch.nn import functional as F

from owae import Config, Stack
from owae.config.build import build, build_stack
from owae.data.loader import Loader
from owae.data.sources import Subset, TensorSource, examples
from owae.distributions import Gaussian
from owae.errors import ConfigError, InterruptionError
from owae.model.costs import Dirac
from owae.run.opened import open_run
from owae_augment import augmented
from owae_augment.augment import Augment
from owae_augment.logits import Logits
from owae_augment.transforms import names
from owae_layers import MLP
from owae_mmd import MMD

__all__ = ["make", "registry"]

BYTES = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
SOME = ("RandomHorizontalFlip", {"name": "RandomCrop", "padding": 2}, {"name": "GaussianNoise", "sigma": 0.05})


def read(transforms, x=BYTES, epoch=1, value_range=(0.0, 1.0), **options):
    """The training batches of an epoch as one, and the examples that they were made of."""
    source = augmented(TensorSource(x, None, value_range), transforms)
    loader = Loader(source, 8, seed=3, **options)
    order = loader.order(epoch)
    plain = examples(source.source, order)
    return torch.cat(list(loader.epoch(epoch))), plain


@pytest.mark.parametrize("inner", [TensorSource(BYTES), OneByOne()])
def test_seed_epoch_and_index_alone_decide(inner):
    """Not who reads, how batches are cut, how many processes there are, nor what was drawn before."""
    source = augmented(inner, SOME if len(inner.shape) == 3 else ["GaussianNoise"])
    whole = Loader(source, 16, seed=3)
    state = torch.get_rng_state()
    first, second = torch.cat(list(whole.epoch(1))), torch.cat(list(whole.epoch(2)))
    assert torch.equal(torch.get_rng_state(), state), "training's own noise goes on as without"
    torch.manual_seed(99)
    assert torch.equal(torch.cat(list(Loader(source, 16, seed=3).epoch(2, 1))), second[16:])
    assert torch.equal(torch.cat(list(Loader(source, 5, seed=3).epoch(1))), first), "batches cut otherwise"
    ranks = [list(Loader(source, 16, seed=3, rank=rank, ranks=2).epoch(1)) for rank in (0, 1)]
    assert torch.equal(torch.cat([torch.cat(pair) for pair in zip(*ranks, strict=True)]), first)
    forked = Loader(source, 16, seed=3, workers=2)
    assert forked.workers is not None
    forked.workers.start_method = "fork"
    try:
        assert torch.equal(torch.cat(list(forked.epoch(2))), second)
    finally:
        forked.close()
    again, by_index = torch.empty_like(first), torch.empty_like(second)
    again[whole.order(1)], by_index[whole.order(2)] = first, second
    assert not torch.equal(again, by_index), "another epoch draws anew"
    assert not torch.equal(torch.cat(list(Loader(source, 16, seed=4).epoch(1))), first)


def test_what_is_held_out_and_whoever_else_reads_gets_the_examples_as_they_are():
    source = augmented(TensorSource(BYTES), SOME)
    assert torch.equal(examples(source), examples(TensorSource(BYTES)))
    part = Subset(source, torch.arange(10, 30))
    batches = torch.cat(list(Loader(part, 20, seed=3).epoch(1)))
    rows = Loader(part, 20, seed=3).order(1) + 10
    whole = source.augment(examples(source, rows), rows, 3, 1)
    assert torch.equal(batches, whole), "an example of a part is known by its index in the whole"


def test_flips():
    x, plain = read(["RandomHorizontalFlip", "RandomVerticalFlip"])
    found = [
        [torch.equal(one, was) for was in (of, of.flip(-1), of.flip(-2), of.flip(-1, -2))] for one, of in zip(x, plain, strict=True)
    ]
    assert all(sum(row) == 1 for row in found)
    assert (torch.tensor(found).sum(0) > 2).all()


def test_a_crop_is_a_window_of_the_padded_example():
    x, plain = read([{"name": "RandomCrop", "padding": 2}], value_range=(-1.0, 1.0))
    places = set()
    for one, of in zip(x, F.pad(plain, (2, 2, 2, 2), value=-1.0), strict=True):
        windows = {(i, j): of[:, i : i + 8, j : j + 8] for i in range(5) for j in range(5)}
        hits = [place for place, window in windows.items() if torch.allclose(window, one, atol=1e-6)]
        assert hits
        places |= set(hits)
    assert len(places) > 10


def test_a_small_rotation_is_the_librarys_at_an_angle_within_bounds():
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import rotate

    x, plain = read([{"name": "RandomRotation", "degrees": 5, "interpolation": "bilinear"}])
    angles = torch.linspace(-5, 5, 401).tolist()
    for one, of in zip(x[:8], plain[:8], strict=True):
        errors = torch.stack([(rotate(of, angle, InterpolationMode.BILINEAR, fill=[0.0]) - one).abs().max() for angle in angles])
        assert errors.min() < 0.01
        assert errors.max() > 0.02


def test_noise_has_its_standard_deviation_in_units_of_the_range():
    x, plain = read([{"name": "GaussianNoise", "sigma": 0.02}], BYTES // 4 + 96, value_range=(-1.0, 1.0))
    noise = (x - plain) / 2
    assert noise.std() == pytest.approx(0.02, rel=0.03)
    assert noise.mean().abs() < 0.001
    assert (noise[0] - noise[1]).abs().max() > 0.02


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_dequantised_bytes_are_uniform_on_what_rounds_to_them(value_range):
    x, plain = read(["Dequantise"], value_range=value_range)
    low, high = value_range
    unit, was = (x - low) / (high - low) * 255, (plain - low) / (high - low) * 255
    assert torch.equal(unit.round(), was.round())
    inside = (was > 0.5) & (was < 254.5)
    rest = (unit - was)[inside].sort().values + 0.5
    assert (rest - torch.linspace(0, 1, len(rest))).abs().max() < 0.03, "Kolmogorov and Smirnov's distance from uniform"
    assert low <= x.min() <= x.max() <= high


def test_dequantise_refuses_what_has_no_levels():
    with pytest.raises(ConfigError, match="not at 256 levels"):
        augmented(TensorSource(torch.rand(20, 4)), ["Dequantise"])
    grid = torch.randint(0, 17, (20, 4)) / 16
    x, plain = read([{"name": "Dequantise", "levels": 17}], grid)
    assert torch.equal((x * 16).round(), plain * 16)


def test_nested_choices_and_pictures_without_channels():
    x, plain = read([{"name": "RandomApply", "p": 0.5, "transforms": ["RandomInvert"]}], BYTES[:, 0])
    inverted = [torch.allclose(one, 1 - of, atol=1e-6) for one, of in zip(x, plain, strict=True)]
    assert any(inverted)
    assert not all(inverted)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (["RandomHorizontlFlip"], "did you mean 'RandomHorizontalFlip'"),
        ([{"name": "RandomCrop", "pading": 4}], "no option 'pading'; did you mean 'padding'"),
        ([{"name": "RandomCrop", "size": 4}], r"makes torch.float32 \(3, 4, 4\)"),
        ([{"name": "RandomRotation"}], "needs degrees"),
        ([{"name": "RandomRotation", "degrees": 5, "interpolation": "sharp"}], "sharp"),
        ([{"name": "Dequantise", "levels": 1}], "levels is 1"),
        ([7], "found 7"),
    ],
)
def test_what_does_not_work_is_refused_before_anything_is_read(transforms, message):
    with pytest.raises(ConfigError, match=message):
        augmented(TensorSource(BYTES), transforms)


def test_pictures_transforms_refuse_vectors():
    with pytest.raises(ConfigError, match=r"is for images .* which Dequantise and GaussianNoise take"):
        augmented(TensorSource(torch.rand(20, 4)), ["RandomHorizontalFlip"])


def test_no_transform_draws_from_another_generator_than_torchs():
    import random

    import numpy as np

    needs = {"RandomRotation": {"degrees": 5}, "RandomAffine": {"degrees": 5}, "GaussianBlur": {"kernel_size": 3}}
    needs |= {
        "RandomPosterize": {"bits": 4},
        "RandomSolarize": {"threshold": 0.5},
        "RandomAdjustSharpness": {"sharpness_factor": 2},
    }
    drawing = [name for name in names() if name.startswith(("Random", "Gaussian", "Color", "Auto", "Rand", "Trivial"))]
    for name in {*drawing} - {"RandomApply", "RandomChoice", "RandomOrder", "RandomGrayscale"}:
        source = augmented(TensorSource(BYTES[:4]), [{"name": name, **needs.get(name, {})}])
        x, rows, seen = examples(source), torch.arange(4), []
        for seed in (0, 1):
            random.seed(seed)
            np.random.seed(seed)
            seen.append(source.augment(x, rows, 0, 1))
        assert torch.equal(*seen), name


def linear(seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    bottom, top = MLP((3, 8, 8), latent=6, hidden=[8], decoder="gaussian"), MLP((6,), latent=2, hidden=[8])
    return Stack([bottom, top], divergence=MMD(), weights=[0.5, 0.5])


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_a_stack_on_logits_is_the_plain_one_on_data_that_are_logits(value_range):
    alpha, unit = 0.05, BYTES / 255
    low, high = value_range
    logits, data = torch.logit(alpha + (1 - 2 * alpha) * unit), low + (high - low) * unit
    plain, phase = linear(), Augment(logit=alpha)
    stack = phase.extend(linear())
    phase.prepare(stack, TensorSource(BYTES, None, value_range))
    torch.manual_seed(5)
    expected = plain(logits).loss
    torch.manual_seed(5)
    assert stack(data).loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(stack.encode(data), plain.encode(logits), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    rebuilt = plain.reconstruct(logits, 1)
    undone = low + (high - low) * ((rebuilt.sigmoid() - alpha) / (1 - 2 * alpha)).clamp(0, 1)
    assert torch.allclose(stack.reconstruct(data, 1), undone, atol=1e-4)
    assert low <= stack.sample(50).min() <= stack.sample(50).max() <= high
    bottom = stack.layers[0]
    assert isinstance(bottom, Logits)
    assert torch.allclose(bottom.inverse_map(bottom.forward_map(data)), data, atol=1e-5)


def test_moments_of_data_whose_logits_are_gaussian_are_those_of_draws():
    layer = Logits(MLP((2,), latent=1, hidden=[4]), 0.05).eval()
    from owae_augment.logits import OfLogits

    torch.manual_seed(0)
    p = OfLogits(Gaussian(torch.tensor([[-1.0, 2.0]]).repeat(20_000, 1), torch.tensor([[0.5, 1.5]]).repeat(20_000, 1)), layer)
    draws = p.rsample()
    assert torch.allclose(p.mean[0], draws.mean(0), atol=0.01)
    assert torch.allclose(p.variance[0], draws.var(0), atol=0.005)
    point = OfLogits(Dirac(torch.tensor([[-1.0, 2.0]])), layer)
    assert torch.equal(point.mean, point.rsample())
    assert not point.variance.any()


def test_logits_refuse_a_bounded_decoder(tmp_path, registry):
    path = tiny.config(tmp_path)
    config = Config.load(path, registry, ["augment.logit=0.05"])
    with pytest.raises(ConfigError, match=r'augment: logit: .* output = "linear"'):
        build(config, registry)


def test_nothing_changes_for_whoever_does_not_ask(tmp_path, registry):
    path = tiny.config(tmp_path)
    plain, asked = (Config.load(path, registry, overrides) for overrides in ([], ['augment.transforms=["RandomHorizontalFlip"]']))
    assert "augment" not in plain.to_dict()
    before, after = build(plain, registry), build(asked, registry)
    one, other = before.stack.state_dict(), after.stack.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert type(before.train) is type(before.test) is type(after.test)
    assert build_stack(asked, registry, (1, 8, 8), (0.0, 1.0)).state_dict().keys() == one.keys()


@pytest.mark.slow
def test_a_run_goes_on_to_the_bit_and_opens_again(make, monkeypatch):
    settings = [
        'augment.transforms=["RandomHorizontalFlip", {name="RandomCrop", padding=1}, "Dequantise"]',
        *("augment.logit=0.05", 'levels.0.layer.output="linear"', "train.validation=0.2"),
    ]
    whole = make("whole", *settings)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(InterruptionError):
            make("killed", *settings)
    again = make("killed", *settings, resume=True)
    one, other = contents(whole.folder, "checkpoints/*"), contents(again.folder, "checkpoints/*")
    newest = max(one)
    assert one[newest] == other[newest]
    opened = open_run(whole.folder)
    assert torch.equal(opened.model.sample(3).isfinite(), torch.ones(3, 1, 8, 8, dtype=torch.bool))
    assert type(opened.source("train")).__name__ == "Arrays"


@pytest.mark.parametrize("transform", ["ColorJitter", "Resize", {"name": "RandomCrop", "padding": 0}])
def test_a_transform_that_changes_nothing_is_told(transform, caplog):
    augmented(TensorSource(BYTES), [transform, "RandomHorizontalFlip", "GaussianNoise", {"name": "ColorJitter", "hue": 0.3}])
    name = transform if isinstance(transform, str) else transform["name"]
    assert [record.args[0] for record in caplog.records] == [name]


@pytest.mark.slow
def test_phases_after_a_training_on_logits_keep_its_codes_and_draw_data(make):
    settings = ("augment.logit=0.05", 'levels.0.layer.output="linear"', "data.value_range=[-1.0, 1.0]", "data.rescale=true")
    plain = make("plain", *settings)
    whole = make(
        "whole", *settings, "refine={epochs=1, levels=[1, 2], hidden=[8], batch_size=16}", "bottom={epochs=1, batch_size=16}"
    )
    x = examples(whole.source("test"))
    for one, other in zip(plain.model.encode(x), whole.model.encode(x), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain.model.reconstruct(x), whole.model.reconstruct(x))
    drawn = whole.model.sample(50)
    low, high = whole.value_range
    assert drawn.isfinite().all()
    assert low <= drawn.min() <= drawn.max() <= high  # data, no logits
    assert drawn.std() > 0
