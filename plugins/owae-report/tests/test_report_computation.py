"""What the figures are computed from: principal components, UMAP, paths, the places of names."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import tiny
import torch

from owae.data.sources import TensorSource
from owae.errors import DataError, TrainingError
from owae_report.embeddings import NEIGHBOURS, _neighbours, densest, encode, neighbourhood, pca, raw, umap
from owae_report.errors import NotDrawableError
from owae_report.events import reconstructions
from owae_report.interpolate import interpolate, pairs
from owae_report.layouts import begin


def ellipsoid(n: int, d: int) -> torch.Tensor:
    """Points ±s_i along orthonormal directions: their components and variances are known."""
    directions, _ = torch.linalg.qr(torch.randn(d, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    scales = torch.tensor([5.0, 3.0, 1.0], dtype=torch.float64)
    signs = torch.cat([torch.eye(3), -torch.eye(3)]).double().repeat(n // 6, 1)
    return (signs * scales @ directions.T + 7.0).float()


@pytest.mark.parametrize(("n", "d"), [(6, 4), (6, 300), (60, 12), (60, 3)])
def test_principal_components_are_those_of_an_ellipsoid(n: int, d: int):
    projection = pca(ellipsoid(n, d))
    # Along the first axis only ±5, along the second ±3, and the third is left out.
    expected = np.tile([[5, 0], [0, 3], [0, 0], [-5, 0], [0, -3], [0, 0]], (n // 6, 1))
    np.testing.assert_allclose(np.abs(projection.points), np.abs(expected), atol=1e-4)
    assert projection.share == pytest.approx((25 + 9) / (25 + 9 + 1), rel=1e-5)


def test_both_sides_of_a_table_give_the_same_components():
    codes = torch.randn(30, 29, generator=torch.Generator().manual_seed(1))
    wider = torch.nn.functional.pad(codes, (0, 40))
    np.testing.assert_allclose(pca(codes).points, pca(wider).points, atol=1e-8)


def test_signs_do_not_depend_on_the_order_of_the_coordinates():
    codes = torch.randn(50, 8, generator=torch.Generator().manual_seed(2))
    np.testing.assert_allclose(pca(codes).points, pca(codes.flip(1)).points, atol=1e-8)


@pytest.mark.parametrize(("shape", "kept"), [((9, 1), 1), ((9, 2), 2), ((1, 5), 2), ((2, 5), 2)])
def test_few_dimensions_and_few_points_are_drawn(shape: tuple[int, int], kept: int):
    projection = pca(torch.randn(shape, generator=torch.Generator().manual_seed(3)))
    assert projection.points.shape == (shape[0], kept)
    assert np.isfinite(projection.points).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_codes_that_are_all_alike_have_no_components(value: float):
    projection = pca(torch.full((20, 700), value))
    assert not projection.points.any()
    assert projection.share is None


def test_raw_codes_are_what_they_were():
    codes = torch.randn(5, 2)
    np.testing.assert_array_equal(raw(codes).points, codes.double().numpy())
    with pytest.raises(ValueError, match="3 dimensions"):
        raw(torch.randn(5, 3))


def test_umap_needs_points():
    with pytest.raises(NotDrawableError, match=f"{NEIGHBOURS} examples or more, found 14"):
        umap(torch.randn(14, 3))


def test_umap_is_given_the_neighbours_that_scikit_learn_finds():
    from sklearn.neighbors import NearestNeighbors

    codes = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    codes[40:60] = codes[3]  # more of a kind than neighbours are asked for
    places, distances = _neighbours(codes, 7)
    expected, _ = NearestNeighbors(n_neighbors=7).fit(codes.double().numpy()).kneighbors(codes.double().numpy())
    assert (places[:, 0] == np.arange(90)).all()
    assert all(len(set(row)) == 7 for row in places.tolist())
    np.testing.assert_allclose(distances, expected, atol=1e-6)


@pytest.mark.parametrize("fault", [None, "nothing"])
def test_a_missing_umap_is_named_with_its_cure(monkeypatch, fault):
    from types import ModuleType

    # Not installed, and another package of the same name.
    monkeypatch.setitem(sys.modules, "umap", None if fault is None else ModuleType("umap"))
    with pytest.raises(NotDrawableError, match="pip install umap-learn"):
        umap(torch.randn(20, 3))


UMAP_OF_A_TEST = """
import sys
class UMAP:
    def __init__(self, n_neighbors, random_state, precomputed_knn, **others):
        assert "torch" not in sys.modules
        self.added = n_neighbors + 100 * random_state + precomputed_knn[0][:, :1]
    def fit_transform(self, codes):
        print("printed")
        return codes[:, :2] + self.added
"""


@pytest.mark.parametrize(("content", "refused"), [(UMAP_OF_A_TEST, None), ("", "pip install umap-learn")])
def test_umap_runs_in_a_process_without_torch(tmp_path, monkeypatch, content, refused):
    (tmp_path / "umap.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    codes = [torch.randn(20, 2), torch.ones(16, 3)]
    wait = begin([neighbourhood(each) for each in codes], 7, tmp_path)
    if refused:
        with pytest.raises(NotDrawableError, match=refused):
            wait()
        return
    first, second = wait()
    np.testing.assert_allclose(first, codes[0].numpy() + 715 + np.arange(20)[:, None], rtol=1e-6)
    assert not second.any()


@pytest.mark.slow
def test_umap_keeps_clusters_apart_and_obeys_its_seed_and_leaves_torch_its_threads(capfd):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(60, 6, generator=generator) + torch.arange(2).repeat_interleave(30)[:, None] * 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again, other = umap(codes, 1).points, umap(codes, 1).points, umap(codes, 2).points
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    halves = first[:30], first[30:]
    apart = np.linalg.norm(halves[0].mean(0) - halves[1].mean(0))
    assert apart > 2 * max(half.std(0).max() for half in halves)
    for few in (codes[:15], codes[:16, :1]):
        assert umap(few).points.shape == (len(few), 2)
    assert not umap(torch.ones(20, 3)).points.any()
    assert capfd.readouterr().out == ""


def test_codes_are_the_encoders_means_of_every_level():
    stack, x = tiny.stack().train(), tiny.images(300)
    source = TensorSource(x)
    chosen = torch.tensor([3, 299, 0])
    codes = encode(stack, source, chosen)
    assert stack.training
    assert [tuple(each.shape) for each in codes] == [(3, 8), (3, 2)]
    with torch.no_grad():
        for mine, theirs in zip(codes, stack.eval().encode(x[chosen]), strict=True):
            torch.testing.assert_close(mine, theirs)


def test_codes_that_are_not_finite_are_refused_by_name():
    stack, x = tiny.stack(), tiny.images(10)
    with torch.no_grad():
        next(stack.layers[1].parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"blown encodes 10 of 10 examples to codes z_2 that are not finite"):
        encode(stack, TensorSource(x), torch.arange(10), "blown")
    with pytest.raises(DataError, match="no example"):
        encode(stack, TensorSource(x), torch.arange(0))


@pytest.mark.parametrize("level", [1, 2, None])
def test_paths_end_in_the_reconstructions(level: int | None):
    stack, x = tiny.stack(), tiny.images(10)
    path = interpolate(stack, x[:5], x[5:], steps=7, level=level)
    assert path.shape == (5, 7, 1, 8, 8)
    whole = reconstructions(stack, x)[level or stack.depth]
    torch.testing.assert_close(path[:, 0], whole[:5])
    torch.testing.assert_close(path[:, -1], whole[5:])


def test_the_middle_of_a_path_decodes_the_middle_of_the_codes():
    stack, x = tiny.stack(), tiny.images(4)
    path = interpolate(stack, x[:2], x[2:], steps=3)
    with torch.no_grad():
        codes = stack.eval().encode(x)[-1]
        torch.testing.assert_close(path[:, 1], stack.decode((codes[:2] + codes[2:]) / 2))


@pytest.mark.parametrize(("level", "steps"), [(0, 5), (3, 5), (1, 1)])
def test_paths_that_do_not_exist_are_refused(level: int, steps: int):
    x = tiny.images(2)
    with pytest.raises(ValueError, match=r"level is|steps"):
        interpolate(tiny.stack(), x, x, steps=steps, level=level)


def test_pairs_are_of_different_examples_and_classes():
    labels = torch.arange(40) % 4
    chosen = pairs(TensorSource(torch.rand(40, 1, 2, 2), labels), 6, seed=1)
    assert chosen.shape == (6, 2)
    assert len(chosen.unique()) == 12
    assert (labels[chosen[:, 0]] != labels[chosen[:, 1]]).all()
    assert pairs(TensorSource(torch.rand(5, 1, 2, 2)), 6).shape == (2, 2)
    with pytest.raises(NotDrawableError, match="found 1 examples"):
        pairs(TensorSource(torch.rand(1, 1, 2, 2)), 6)


def test_a_name_stands_where_most_of_its_class_is():
    # A quarter far away, the rest around (5, 5), and nothing in the mean.
    cluster = np.random.default_rng(0).normal(5, 0.1, (75, 2))
    points = np.concatenate([cluster, np.random.default_rng(1).normal(-50, 9, (25, 2)), [[0.0, 1.0]]])
    labels = np.array([3] * 100 + [7])
    places = densest(points, labels, [3, 7])
    assert np.abs(places[0] - 5).max() < 0.2
    np.testing.assert_array_equal(places[1], [0.0, 1.0])
