"""The page of `owae explore` in a browser."""

from __future__ import annotations

import base64
import contextlib
import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from browser import Browser, Page, browser
from PIL import Image

from owae.data.sources import examples
from owae.model.inference import evaluating
from owae.run.opened import Run
from owae_explore.serving import bound, serving
from owae_explore.session import Session
from owae_report.pixels import to_pixels

__all__ = ["browser"]
pytestmark = pytest.mark.slow

STILL = "document.body.dataset.busy === '0' && document.querySelector('#ladder canvas')"


@pytest.fixture(params=["pictures", "table"])
def opened(request, browser: Browser) -> Iterator[tuple[Run, Page]]:
    run = request.getfixturevalue(request.param)
    with contextlib.closing(bound("127.0.0.1", 0)) as socket, serving(Session(run), "run", "127.0.0.1", socket) as (address, _):
        page = browser.page().open(address, width=360, height=740)
        page.until(STILL)
        yield run, page
        assert page.complaints == []
        assert {each for each in page.requests if not each.startswith((address, "data:"))} == set()


def shown(page: Page, selector: str) -> np.ndarray:
    data, width, height = page.pixels(selector)
    return np.array(data).reshape(height, width, 4)[..., :3]


def test_a_drag_shows_what_torch_decodes_and_an_own_picture_is_rebuilt(opened: tuple[Run, Page]) -> None:
    run, page = opened
    before = shown(page, "#plane-picture")
    page.drag("#plane-map", (0.5, 0.5), (0.7, 0.4), (0.85, 0.2))
    page.until(STILL)
    after = shown(page, "#plane-picture")
    assert np.abs(after - before).max() > 20
    assert page.overflow() == 0
    place = page.run("document.querySelector('#plane-place').textContent").replace("−", "-")
    z = [float(each) for each in re.findall(r"-?\d+\.\d+", place)]
    assert z == pytest.approx([4 * (0.85 * 13 - 0.5) / 12 - 2, 2 - 4 * (0.2 * 13 - 0.5) / 12], abs=0.03)
    if len(run.shape) == 1:
        return
    exact = [4 * (0.85 * 13 - 0.5) / 12 - 2, 2 - 4 * (0.2 * 13 - 0.5) / 12]
    with evaluating(run.model):
        expected = to_pixels(run.model.decode(torch.tensor([exact])), run.value_range)[0]
    box = page.run("document.querySelector('#plane-map').getBoundingClientRect().width")
    assert np.abs(after - expected.astype(int)).max() <= 1, box
    page.run("[...document.querySelectorAll('#ladder button')].find(each => each.textContent === 'Draw').click()")
    page.until(STILL)
    assert np.abs(shown(page, "#plane-picture") - after).max() > 1
    x = examples(run.source("test"), torch.tensor([1]))
    buffer = io.BytesIO()
    Image.fromarray(to_pixels(x, run.value_range)[0]).save(buffer, format="PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    page.run(
        f"(() => {{ const file = new File([Uint8Array.from(atob('{content}'), c => c.charCodeAt(0))], 'x.png');"
        "const data = new DataTransfer(); data.items.add(file);"
        "document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data})) })()"
    )
    page.until(f"{STILL} && document.querySelectorAll('#rebuilt canvas').length === 3")
    assert np.array_equal(shown(page, "#rebuilt figure:nth-child(1) canvas"), to_pixels(x, run.value_range)[0])
    for level in (1, 2):
        rebuilt = to_pixels(run.model.reconstruct(x, level), run.value_range)[0]
        assert np.abs(shown(page, f"#rebuilt figure:nth-child({level + 1}) canvas") - rebuilt.astype(int)).max() <= 1
    page.run("document.querySelector('#start').click()")
    page.until(STILL)
    assert np.abs(shown(page, "#ladder canvas") - rebuilt.astype(int)).max() <= 1
    page.run("document.querySelector('#walk').click()")
    page.until(f"{STILL} && !document.querySelector('#stroll').hidden")
    assert page.run("document.querySelector('#said').textContent") == ""
