"""Figures of series and tables: each shows the numbers it was given, whatever the size of an example."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from owae.data.sources import TensorSource
from owae.errors import TrainingError
from owae.model.stack import Stack
from owae.run.opened import Run
from owae_report.figure_data import FigureData, Options
from owae_report.figures import GRIDS, figure
from owae_report.style import rendered
from owae_report.vectors.cells import Cells
from owae_report.vectors.columns import Columns
from owae_report.vectors.drawing import is_series


class OfVectors(Run):
    """A run of vectors, untrained."""

    def __init__(self, folder, x: torch.Tensor, units: dict | None = None) -> None:
        self.folder, self.shape, self.value_range, self._data = folder, tuple(x.shape[1:]), (0.0, 1.0), {"units": units}
        self.model = tiny.stack(shape=self.shape)
        self.config = SimpleNamespace(levels=self.model.levels)  # pyright: ignore[reportAttributeAccessIssue] # all that is read of it
        self._source = TensorSource(x)
        self._source.units = units

    def source(self, split: str = "test") -> TensorSource:
        return self._source


def texts(made) -> str:
    parts = [made, *made.subfigs]
    return " ".join(text.get_text() for part in parts for box in [part, *part.axes] for text in box.texts)


def noise(count: int, size: int) -> torch.Tensor:
    return torch.rand(count, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("size", "series"), [(1, False), (30, False), (60, False), (60, True)])
@pytest.mark.parametrize("name", GRIDS)
def test_vectors_of_every_size_are_drawn(tmp_path, size, series, name):
    x = noise(40, size)
    run = OfVectors(tmp_path / "a$b", x.cumsum(1) / size if series else x)
    made = figure(name, [FigureData(run, Options(number=4, side=3))])
    assert ("frames reach" in texts(made)) is series
    assert made.get_size_inches()[1] <= 9


def test_two_runs_stand_under_each_other_by_name(tmp_path):
    runs = [OfVectors(tmp_path / name, noise(30, 4)) for name in ("one", "other")]
    made = figure("reconstructions", [FigureData(run, Options()) for run in runs])
    assert [part.get_suptitle() for part in made.subfigs] == ["one", "other"]
    assert rendered(made, "png")


def test_numbers_are_in_the_units_of_the_data_and_columns_have_their_names(tmp_path):
    units = {"names": ["mass$", "length"], "shift": [5.0, 0.0], "scale": [100.0, 1.0]}
    run = OfVectors(tmp_path / "run", noise(30, 2), units)
    made = figure("samples", [FigureData(run, Options())])
    ticks = [label.get_text() for label in made.subfigs[0].axes[0].get_xticklabels()]
    assert ticks == ["mass$", "length"]
    walks = noise(30, 40).cumsum(1) / 40
    series = OfVectors(tmp_path / "run", walks, {"names": ["x"] * 40, "shift": [500.0] * 40, "scale": [1.0] * 40})
    assert "from 500 to 501" in texts(figure("reconstructions", [FigureData(series, Options())]))


def test_columns_that_were_scaled_without_names_are_numbered(tmp_path):
    run = OfVectors(tmp_path / "run", noise(30, 2), {"names": [], "shift": [5.0], "scale": [100.0]})
    made = figure("samples", [FigureData(run, Options())])
    assert [label.get_text() for label in made.subfigs[0].axes[0].get_xticklabels()] == ["0", "1"]


def test_lines_are_drawn_at_their_values():
    from owae_report.style import new_figure

    figure = new_figure(6, 2)
    Cells([[[np.array([0.0, 1.0, 3.0])], [np.array([1.0, 1.0, 1.0]), np.array([2.0, 0.0, 2.0])]]]).draw(figure)
    _, behind, front = figure.axes[0].collections
    (data,), (first, second) = ([np.asarray(path.vertices) for path in lines.get_paths()] for lines in (behind, front))
    heights = [1 - line[:, 1] for line in (first, second, data)]
    low, reach = heights[0][0], heights[0][2] - heights[0][0]
    for line, values in zip(heights, ([0, 1, 3], [2, 0, 2], [1, 1, 1]), strict=True):
        np.testing.assert_allclose((line - low) / reach * 3, values, atol=1e-9)
    assert first[-1, 0] < second[0, 0]


def test_shares_kept_are_those_of_the_columns():
    data = np.random.default_rng(0).standard_normal((500, 3)) * [1, 10, 0]
    _, draw = Columns(data, ["a", "b", "c"]).explained([data, data * [1, 0, 1] + [0, data[:, 1].mean(), 0]])
    from owae_report.style import new_figure

    figure = new_figure(6, 2)
    draw(figure)
    (shown,) = figure.axes[0].images
    np.testing.assert_allclose(np.ma.filled(np.ma.asarray(shown.get_array()), np.nan), [[1, 0, np.nan]], atol=1e-9)


def test_series_are_told_by_their_neighbours():
    time = np.linspace(0, 6, 40)
    assert is_series(np.sin(time + np.arange(20)[:, None]))
    assert not is_series(np.random.default_rng(0).standard_normal((20, 40)))
    assert not is_series(np.ones((20, 40)))
    assert not is_series(np.ones((20, 3)).cumsum(1))


def test_a_model_that_diverged_is_refused(tmp_path, monkeypatch):
    run = OfVectors(tmp_path / "run", noise(30, 4))
    monkeypatch.setattr(Stack, "decode", lambda self, z, level=None, *, sample=False: torch.full((len(z), 4), torch.nan))
    with pytest.raises(TrainingError, match="not finite"):
        figure("reconstructions", [FigureData(run, Options())])


@pytest.mark.parametrize("series", [False, True])
def test_pairs_show_samples_and_held_out_examples_with_their_nearest(tmp_path, series):
    x = noise(40, 60)
    data = FigureData(OfVectors(tmp_path / "run", x.cumsum(1) / 60 if series else x), Options(number=3))
    made = figure("pairs", [data])
    if series:
        assert "grey: the nearest training example" in texts(made)
        return
    strips = [axes for axes in made.subfigs[0].axes if axes.get_ylabel()]
    assert [axes.get_ylabel().partition("\n")[0] for axes in strips] == ["sample"] * 3 + ["held out"] * 3
    assert strips[3].get_ylabel() == "held out\n0"  # both splits are one here
    assert len(strips[-1].get_xticklabels()) == 40  # those that change most are named
