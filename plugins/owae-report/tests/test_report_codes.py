"""Codes, shares and nearest training examples, against what is known of them and against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from levels import Add, MeanGap

from owae.model.stack import Stack
from owae_report.evaluation import codes, look
from owae_report.evaluation.generalisation import generalise, mann_whitney
from owae_report.evaluation.shares import decided


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
    copied = generalise(train[:200] + 1e-4, held, train, rows, rows[:200])
    honest = generalise(fresh, held, train, rows, rows[:200])
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
    assert mann_whitney(torch.zeros(40), torch.zeros(50)) is None


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_a_rank_statistic_of_few_is_none(count: int):
    few, many = torch.arange(count).float(), torch.arange(100).float()
    assert (mann_whitney(few, many) is None) is (mann_whitney(many, few) is None) is (count < 8)


def test_a_gain_that_matches_roughness_is_found():
    x = (0.5 + 0.3 * torch.linspace(0, 12.5, 32).sin()).expand(20, 1, 8, 32)
    target = look.roughness(look.with_gain(x, 2.5))
    assert look.matching_gain(x, target) == pytest.approx(2.5, rel=1e-3)
