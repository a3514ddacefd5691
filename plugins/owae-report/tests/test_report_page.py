"""`owae report`: what the page holds, what it says where something cannot be had, and that nothing of a user's text is markup."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from owae.errors import TrainingError
from owae.model.inference import evaluating
from owae.model.stack import Stack
from owae_layers import MLP, Convolutional
from owae_mmd.mmd import MMD
from owae_report.cli.report import command
from owae_report.evaluation.whole import Options as Measured
from owae_report.figure_data import FigureData, Options
from owae_report.page.charts import Axis, chart
from owae_report.page.curves import grouped
from owae_report.page.document import Contents, document, viewer
from owae_report.page.network import NotEmbeddableError, difference, network
from owae_report.page.parts import figure
from owae_report.page.plane import axes, plane


def report(*arguments: object):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def random_stack(*layers: MLP) -> Stack:
    """A stack whose batch norms have statistics as after training."""
    stack = Stack(list(layers), divergence=MMD(), weights=[1.0] * len(layers)).eval()
    generator = torch.Generator().manual_seed(1)
    for name, tensor in [*stack.named_buffers(), *stack.named_parameters()]:
        if "running" in name or "norm" in name or tensor.ndim == 1:
            tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5 if tensor.is_floating_point() else tensor
    return stack


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "elu", "gelu", "silu", "tanh"])
def test_an_embedded_network_computes_what_torch_does(norm, activation):
    torch.manual_seed(0)
    options = {"hidden": [24, 16], "norm": norm, "activation": activation}
    stack = random_stack(
        MLP((3, 5, 4), latent=6, output="sigmoid", **options),
        MLP((6,), latent=4, output="tanh", decoder="gaussian", **options),
        MLP((4,), latent=2, **{**options, "hidden": []}),
    )
    assert difference(network(stack), stack, torch.randn(50, 2)) < 1 / 255


def test_what_is_no_perceptron_is_not_embedded():
    layer = Convolutional((1, 8, 8), latent=2, channels=(4,), output="sigmoid")
    stack = Stack([layer], divergence=MMD(), weights=[1.0])
    with pytest.raises(NotEmbeddableError, match="the decoder of level 1 is a 'convolutional'; only that of an 'mlp'"):
        network(stack)


def test_the_sheet_and_the_embedded_numbers_are_what_torch_decodes(digits):
    found = plane(digits.model, digits.value_range, live=True)
    assert found.live
    z = torch.tensor(found.data["axes"])
    assert torch.equal(z, torch.eye(2) * 2)
    data = found.data["network"]
    sizes = [(step["inputs"], step["outputs"]) for step in data["steps"]]
    assert sizes == [(2, 16), (16, 16), (16, 8), (8, 16), (16, 16), (16, 64)]
    assert len(base64.b64decode(data["data"])) == sum(4 * 2 * o + 2 * i * o for i, o in sizes)


def test_axes_reach_the_edges_of_the_plane():
    assert axes(1).tolist() == [[2.0]]
    u, v = axes(10, seed=3)
    assert abs(u @ v) < 1e-5
    assert np.linalg.norm(u) == pytest.approx(np.linalg.norm(v))
    assert np.linalg.norm(u + v) > np.sqrt(10)


def test_a_page_holds_everything_and_loads_nothing(digits, tmp_path):
    path = tmp_path / "sub" / "page.html"
    result = report(digits.folder, "-o", path, "--no-umap", "--features", "pixels")
    assert (result.exit_code, result.stdout) == (0, f"{path}\n"), result.output
    page = path.read_text()
    for title in (
        "The plane",
        "Samples",
        "Reconstructions",
        "Interpolations",
        "Embeddings",
        "Levels",
        "Baselines",
        "Curves",
        "Config",
    ):
        assert f"<h2>{title}" in page, title
    assert page.count("data:image/png;base64,") == 7
    assert "TwoNN dimension" in page
    assert "kind = &#34;arrays&#34;" in page
    lines = [json.loads(line) for line in (digits.folder / "metrics.jsonl").read_text().splitlines()]
    for name in grouped(lines):
        assert name in ("divergence", "loss", "transport", "cost", "spread", "variance", "gradient", "lr")
    assert page.count('<figure class="chart">') == len(grouped(lines))
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page


@pytest.mark.slow
def test_a_text_of_a_user_s_is_no_markup(digits):
    data = FigureData(digits, Options())
    data.name = '</title><script>alert("1")</script>'
    page = document(data, Contents())
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(" in page


def test_data_that_are_gone_cost_only_what_needs_them(tmp_path, trained, caplog):
    run = trained(tmp_path / "gone")
    (tmp_path / "gone" / "images.npz").unlink()
    page = document(FigureData(run, Options()), Contents(measured=Measured(("pixels",))))
    assert page.count('class="warning"') == 5
    assert "images.npz" in caplog.text
    assert "plane-data" in page
    assert page.count('<figure class="chart">') == 8


@pytest.mark.slow
def test_arrays_are_drawn_as_lines(tmp_path, trained):
    table = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    run = trained(tmp_path / "table", images=table)
    result = report(run.folder, "--live", "--no-umap", "--no-evaluate")
    assert result.exit_code == 0, result.output
    page = (run.folder / "report.html").read_text()
    assert "Quantiles of every coordinate" in page
    assert page.count("<strong>Example") == 6
    assert page.count("<strong>Pair") == 3
    data = json.loads(re.findall(r'id="plane-data">(.*?)</script>', page)[0])
    values = np.frombuffer(base64.b64decode(data["values"]["data"]), "<f4").reshape(data["rows"], data["columns"], 4)
    z = torch.tensor([-2.0, 2.0])
    with evaluating(run.model):
        assert np.allclose(values[0, 0], run.model.decode(z[None])[0].numpy(), atol=1e-5)
    assert data["network"] is not None


def test_a_part_that_breaks_costs_no_other(digits, monkeypatch, caplog):
    def broken(*_, **__):
        raise KeyError("whatever a library raises")

    for place in ("plane", "draw", "curves", "judge_run"):
        monkeypatch.setattr(f"owae_report.page.document.{place}", broken)
    page = document(FigureData(digits, Options()), Contents(measured=Measured()))
    assert page.count("Not there: KeyError: ") == 8
    assert "whatever a library raises" in caplog.text
    assert "The effective config" in page


def test_a_plane_of_wide_pictures_has_room_to_move_in():
    torch.manual_seed(0)
    stack = Stack([MLP((1, 4, 60), latent=2, hidden=[4], output="sigmoid")], divergence=MMD(), weights=[1.0]).eval()
    found = plane(stack, (0.0, 1.0))
    assert found.ratio == 2
    assert "stretched" in found.notes[-1]
    assert 'style="aspect-ratio: 2"' in viewer(found)


@pytest.mark.parametrize(("shown", "count"), [(None, 4), ((0, 1, 2), 3), ((3,), 1)])
def test_a_plane_shows_the_channels_that_are_asked_for(shown, count):
    torch.manual_seed(0)
    stack = Stack([MLP((4, 5, 6), latent=2, hidden=[4], output="sigmoid")], divergence=MMD(), weights=[1.0]).eval()
    found = plane(stack, (0.0, 1.0), live=True, shown=shown)
    assert found.data["picture"]["channels"] == count
    assert found.live is (shown is None)
    if shown is not None:
        assert f"of 4 channels {count} are shown" in found.notes[-1]


def test_the_numbers_of_ticks_have_room():
    drawn = chart("rate", {"rate": [(0, 0.001), (1, 0.001)]}, "step")
    left = float(re.findall(r'class="grid" d="M([\d.]+)', drawn)[0])
    assert left > 6.2 * max(map(len, re.findall(r'text-anchor="end">([\d.]+)<', drawn)))


def test_figures_with_many_panels_are_not_shrunk_to_a_phone():
    def drawn(width):
        buffer = io.BytesIO()
        Image.new("RGB", (width, 300), "white").save(buffer, "PNG")
        return figure(buffer.getvalue(), "a", "b")

    assert 'class="paper broad"' in drawn(2000)
    assert 'class="wide"' in drawn(2000)
    assert "broad" not in drawn(900)


def test_a_stack_that_cannot_be_embedded_gets_its_sheet(digits, monkeypatch, caplog):
    def refused(stack):
        raise NotEmbeddableError("the decoder of level 1 is a 'resnet'")

    monkeypatch.setattr("owae_report.page.plane.network", refused)
    found = plane(digits.model, digits.value_range, live=True)
    assert (found.live, found.data["network"]) == (False, None)
    assert found.notes == [
        "The decoders are not in this page, and the viewer shows the nearest point of the sheet: the decoder of level 1 is a 'resnet'."
    ]
    document(FigureData(digits, Options()), Contents(live=True))
    assert "the decoder of level 1 is a 'resnet'" in caplog.text


def test_large_pictures_are_made_smaller_and_values_that_are_not_finite_refused():
    torch.manual_seed(0)
    shape = (3, 120, 160)
    stack = Stack([MLP(shape, latent=2, hidden=[4], output="sigmoid")], divergence=MMD(), weights=[1.0]).eval()
    found = plane(stack, (0.0, 1.0))
    assert "made smaller" in found.notes[0]
    assert found.sheet is not None
    assert len(found.sheet) < 2_000_000
    with torch.no_grad():
        stack.layers[0].decoder[-1].bias.fill_(torch.nan)  # pyright: ignore # a module's attributes
    with pytest.raises(TrainingError, match="not finite"):
        plane(stack, (0.0, 1.0))


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert isinstance(report(tmp_path).exception, TrainingError)


def test_axes_have_round_ticks_and_charts_break_where_nothing_is():
    assert Axis(0, 1900, 0, 1).ticks() == [0, 500, 1000, 1500]
    assert Axis(0.5, 2000, 0, 1, logarithmic=True).ticks() == [1, 10, 100, 1000]
    assert all(0.3 <= each <= 0.37 for each in Axis(0.3, 0.37, 0, 1).ticks())
    drawn = chart("a < b", {"line": [(0, 1.0), (1, None), (2, 3.0), (3, 4.0)]}, "step")
    assert re.findall(r'class="line c0" d="([MLh])[^ML]*(M)[^ML]*(L)', drawn)
    assert "a &lt; b" in drawn
    assert "no value is finite" in chart("none", {"line": [(0, None)]}, "step")
    for values in itertools.product((0.0, 1.0), repeat=2):
        assert "nan" not in chart("flat", {"line": list(enumerate(values))}, "step")
