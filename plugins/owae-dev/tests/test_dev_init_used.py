"""`owae init` for users: figures of what it writes, and packages that are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_data import cells, few_numbers, lists, plates, series, table

from owae import Config, Registry
from owae.errors import DataError
from owae.run.train import train
from owae_dev.init.opening import opened
from owae_dev.init.places import find
from owae_dev.init.write import write
from owae_report.figure_data import FigureData, Options
from owae_report.figures import GRIDS, figure
from owae_report.style import rendered

QUICK = ["train.epochs=1", 'train.loggers=["csv"]', "refine.epochs=1", "bottom.epochs=1"]


@pytest.mark.slow
@pytest.mark.parametrize("make", [series, few_numbers, table, plates, cells, lists])
def test_what_is_written_is_drawn(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "kept"))
    registry = Registry.discover()
    path = write(str(make(tmp_path)), registry, out=tmp_path / "x.toml")
    quick = [each for each in QUICK if f"[{each.partition('.')[0]}]" in path.read_text()]
    run = train(Config.load(path, registry, quick), registry, out=tmp_path / "run")
    drawn = {name: rendered(figure(name, [FigureData(run, Options(number=3, side=3))]), "png") for name in GRIDS}
    assert len({*drawn.values()}) == len(GRIDS)  # none is another's twin


@pytest.mark.parametrize(
    ("package", "make", "words"),
    [
        ("anndata", cells, "pip install owae-anndata"),
        ("h5py", cells, "pip install owae-anndata"),
        ("pyarrow", table, r"pip install 'owae-data\[table\]'"),
        ("tifffile", plates, r"pip install 'owae-data\[tiff\]'"),
        ("huggingface_hub", lambda folder: "owner/name", r"pip install 'owae-data\[hub\]'"),
        ("torchvision", lambda folder: "FashionMNIST", "pip install torchvision"),
    ],
)
def test_a_package_that_is_missing_is_named(package, make, words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    registry, place = Registry.discover(["owae-data", "owae-anndata"]), make(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    if package == "h5py":
        for name in [name for name in sys.modules if name.partition(".")[0] == "anndata"]:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=words):
        opened(find(str(place), registry), registry, [])


@pytest.mark.parametrize("name", ["../pictures", "./x", "here/pictrues"])
def test_a_path_that_is_not_there_is_no_set_of_the_hub(name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here" if name.startswith(".") else tmp_path)
    registry = Registry.discover(["owae-data"])
    assert find("owner/name", registry).data["kind"] == "hub"
    with pytest.raises(DataError, match="there is no file or folder"):
        find(name, registry)
