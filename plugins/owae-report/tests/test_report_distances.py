"""Formulas on feature matrices, against other libraries on the same features and against sums done by hand."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
import torch

from owae_report.evaluation import distances

# What torchmetrics 1.9.0 gives for these features: `_compute_fid` of their moments, `poly_mmd` of the first hundred of each in float64.
# As numbers, for where torchmetrics is installed lightning-fabric imports it, and with it half of what the core does without.
TORCHMETRICS = {"frechet": 2.3141820548717256, "kid": 1.4774248837109134}


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(150, 6))).float()
    return x, torch.from_numpy(1.3 * rng.normal(size=(120, 6)) + 0.4).float()


def peer(name: str):
    """A module of another library, imported without what its import warns of."""
    pytest.importorskip(name.split(".")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def test_frechet_is_that_of_the_libraries(features):
    x, y = features
    ours = distances.frechet(x, distances.Moments.of(y))
    assert ours == pytest.approx(TORCHMETRICS["frechet"], rel=1e-4)
    statistics = [peer("torch_fidelity.metric_fid").fid_features_to_statistics(each) for each in (x, y)]
    theirs = peer("torch_fidelity.metric_fid").fid_statistics_to_metric(*statistics, verbose=False)
    assert ours == pytest.approx(next(iter(theirs.values())), rel=1e-4)


@pytest.mark.parametrize("n", [2, 5, 300])
def test_frechet_of_a_set_and_itself_is_nothing(n):
    x = torch.randn(n, 7, generator=torch.Generator().manual_seed(1))
    assert distances.frechet(x, distances.Moments.of(x)) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_that_of_the_libraries(features):
    x, y = features[0][:100], features[1][:100]
    ours = distances.kernel_distance(x, y)
    assert ours == pytest.approx(TORCHMETRICS["kid"], abs=1e-4)
    theirs = peer("torch_fidelity.metric_kid").kid_features_to_metric(
        x, y, kid_subsets=1, kid_subset_size=100, rng_seed=0, verbose=False
    )
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-4)


def test_kernel_distance_of_subsets_is_near_that_of_all(features):
    x, y = features
    whole = distances.kernel_distance(x[:120], y)
    parts = distances.kernel_distance(x, y, subset=60, subsets=200)
    assert parts == pytest.approx(whole, rel=0.15)
    assert parts == distances.kernel_distance(x, y, subset=60, subsets=200)


def test_precision_and_recall_are_those_of_torch_fidelity(features):
    x, y = features
    found = distances.neighbourhoods(x, distances.Manifold(y))
    precision, recall = found["precision"], found["recall"]
    theirs = peer("torch_fidelity.metric_prc").prc_features_to_metric(
        x, y, prc_neighborhood=3, prc_batch_size=50, save_cpu_ram=False, verbose=False
    )
    assert precision == pytest.approx(theirs["precision"], abs=1e-4)
    assert recall == pytest.approx(theirs["recall"], abs=1e-4)
    assert 0.3 < precision < 1


def test_density_and_coverage_are_the_counts_of_the_paper(features, monkeypatch):
    x, y = (each.double().numpy() for each in features)
    apart = np.linalg.norm(y[:, None] - y[None], axis=-1)
    radii = np.sort(apart, axis=1)[:, 5]
    inside = np.linalg.norm(x[:, None] - y[None], axis=-1) <= radii
    monkeypatch.setattr(distances, "_BLOCK", 37)
    found = distances.neighbourhoods(features[0], distances.Manifold(features[1]))
    assert found["density"] == pytest.approx(inside.sum() / (5 * len(x)), abs=1e-4)
    assert found["coverage"] == pytest.approx(inside.any(0).mean(), abs=1e-4)


def test_sliced_wasserstein_of_a_shift_is_known():
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(2))
    shift = torch.tensor([0.0, 3.0, 0.0])
    assert distances.sliced_wasserstein(x, x) == 0
    assert distances.sliced_wasserstein(x, x + shift, projections=4000) == pytest.approx(3 / 3**0.5, rel=0.03)
    assert distances.sliced_wasserstein(x, x.repeat(3, 1)) < 0.05


@pytest.mark.parametrize("k", [1, 4])
def test_nearest_in_blocks_is_the_nearest_of_all(k, monkeypatch):
    x, y = torch.rand(50, 3), torch.rand(90, 3)
    monkeypatch.setattr(distances, "_BLOCK", 7)
    values, places = distances.nearest(x, y, k)
    expected = torch.cdist(x, y).topk(k, largest=False)
    assert torch.allclose(values, expected.values, atol=1e-5)
    assert torch.equal(places, expected.indices)


@pytest.mark.parametrize(
    "call",
    [
        lambda one: distances.Moments.of(one),
        lambda one: distances.kernel_distance(one, one),
        lambda one: distances.Manifold(one),
    ],
)
def test_too_few_vectors_are_refused_by_their_number(call):
    with pytest.raises(ValueError, match="found 1"):
        call(torch.zeros(1, 4))
