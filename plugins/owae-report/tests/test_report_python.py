"""What a run can do from Python."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import pytest
from matplotlib.figure import Figure

import owae
from owae.errors import OwaeError, PluginError
from owae.registry import discovery
from owae.registry.discovery import Declared


def test_figures_are_matplotlib_s(digits):
    for figure in (
        digits.figures.grid(4),
        digits.figures.samples(4),
        digits.figures.embeddings(),
        digits.figures.reconstructions(2),
    ):
        assert isinstance(figure, Figure)
        assert figure.axes or figure.images or figure.texts
    with pytest.raises(OwaeError, match="no figure is called"):
        digits.figures.draw("sampels")


def test_a_run_is_evaluated_as_by_the_command(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("OWAE_DATA", str(tmp_path))
    found = digits.evaluate(["pixels"], seeds=1)
    assert found.to_dict()["samples"]["extractors"]["pixels"]["kid"]["value"] is not None
    assert len(found.levels) == 2


def test_a_run_and_a_stack_show_themselves_in_a_notebook(digits):
    assert re.match(r'<p>.*epoch \d+.*</p><img alt="samples" src="data:image/png;base64,iVBOR', digits._repr_html_())
    table = digits.model._repr_html_()
    assert table.count("<tr>") == 3
    assert "<td>z_2</td><td>mlp</td><td>8</td><td>2</td>" in table


def test_what_no_plugin_adds_is_no_attribute(digits, monkeypatch):
    with pytest.raises(AttributeError, match="'Run' has no attribute 'sampels'"):
        digits.sampels  # noqa: B018 # the access is what is tested
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        owae.lod  # noqa: B018 # the access is what is tested
    assert not hasattr(digits, "__array__")
    monkeypatch.setenv("OWAE_PLUGINS", "owae-layers")
    assert not hasattr(digits, "figures")


def test_a_name_that_two_plugins_claim_is_refused(monkeypatch):
    point = Declared("load", "one", "1.0", EntryPoint("load", "one:load", "owae.names"))
    monkeypatch.setattr(discovery, "_declared", lambda restricted: {"load": [point, point]})
    with pytest.raises(PluginError, match="claimed by 'one' and 'one'"):
        discovery.extension("load")
