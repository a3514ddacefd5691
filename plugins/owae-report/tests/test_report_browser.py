"""Reports in a browser: a drag shows what torch decodes, nothing is loaded, nothing complained of, nothing wider than a phone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Browser, Page, browser
from PIL import Image

from owae.model.inference import evaluating
from owae.run.opened import Run, open_run
from owae_report.figure_data import FigureData, Options
from owae_report.page.document import Contents, document
from owae_report.pixels import to_pixels

__all__ = ["browser"]
pytestmark = pytest.mark.slow

PICTURE = "#plane-picture"


@pytest.fixture(scope="module")
def vivid(digits: Run, colours: Run) -> dict[str, Run]:
    """Two runs with larger weights than two epochs give, so that their planes are not the same all over."""
    made = {"digits": open_run(digits.folder), "colours": open_run(colours.folder)}
    for run in made.values():
        for layer in run.model.layers:
            layer.decoder[-1].weight.data *= 12  # pyright: ignore # a module's attributes
    return made


@pytest.fixture(scope="module")
def addresses(vivid: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages of two runs, with the decoders and without."""
    folder: Path = tmp_path_factory.mktemp("pages")
    made = {}
    for name, run, live in (("sheet", "digits", False), ("live", "digits", True), ("colours", "colours", True)):
        path = folder / f"{name}.html"
        path.write_text(document(FigureData(vivid[run], Options()), Contents(live=live)), encoding="utf-8")
        made[name] = path.as_uri()
    return made


def shown(page: Page, channels: int) -> np.ndarray:
    data, width, height = page.pixels(PICTURE)
    return np.array(data).reshape(height, width, 4)[..., 0 if channels == 1 else slice(0, 3)]


def decoded(run: Run, z: list[float]) -> np.ndarray:
    with evaluating(run.model):
        return to_pixels(run.model.decode(torch.tensor([z])), run.value_range)[0].astype(int)


@pytest.mark.parametrize("name", ["sheet", "live", "colours"])
def test_a_drag_shows_what_torch_decodes(name: str, addresses: dict[str, str], browser: Browser, vivid: dict[str, Run]) -> None:
    run = vivid["colours" if name == "colours" else "digits"]
    page = browser.page().open(addresses[name], width=360, height=740)
    page.until("!document.querySelector('#plane-map .marker').hidden")
    before = shown(page, run.shape[0])
    page.drag("#plane-map", (0.5, 0.5), (0.8, 0.3), (0.9, 0.77))
    place = page.run("document.querySelector('#plane-place').textContent").replace("−", "-")
    z = [float(part) for part in re.findall(r"= (-?[\d.]+)", place)]
    after = shown(page, run.shape[0])
    # Where the pointer let go, in cells of the 33 × 33; a sheet shows the nearest.
    box = page.run("(b => [b.width, b.height])(document.querySelector('#plane-map').getBoundingClientRect())")
    assert box[0] > 300
    cells = [0.9 * 33 - 0.5, 0.77 * 33 - 0.5]
    if name == "sheet":
        cells = [round(cell) for cell in cells]
    expected = [2 * (2 * cells[0] / 32 - 1), -2 * (2 * cells[1] / 32 - 1)]
    assert z == pytest.approx(expected, abs=0.02)
    assert np.abs(after - decoded(run, expected)).max() <= 1
    assert np.abs(after - before).max() > 20
    page.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
    assert page.complaints == []
    assert [each for each in page.requests if not each.startswith(("data:", "file:"))] == []
    assert page.overflow() == 0


def test_a_page_reads_without_scripts_and_in_print(addresses: dict[str, str], browser: Browser, tmp_path: Path) -> None:
    page = browser.page()
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.open(addresses["sheet"], dark=True)
    page.picture(tmp_path / "dark.png", whole=False)
    with Image.open(io.BytesIO((tmp_path / "dark.png").read_bytes())) as image:
        assert np.asarray(image.convert("L"))[:40].mean() < 60
    page.printed(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert page.complaints == []
