"""Puts a report together: one HTML file that needs nothing else, in which every part that cannot be made is a line that says why."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources

from markupsafe import Markup, escape

from owae.errors import OwaeError
from owae.run.folder import CONFIG
from owae.run.opened import Run
from owae_report.errors import NotDrawableError
from owae_report.evaluation.whole import Options as Measured
from owae_report.evaluation.whole import judge_run
from owae_report.figure_data import FigureData
from owae_report.figures import EMBEDDINGS, GRIDS, draw
from owae_report.page import arrays, judgement
from owae_report.page.curves import curves
from owae_report.page.parts import block, data_address, embedded_json, figure, joined, paragraph, section, text
from owae_report.page.plane import Plane, plane

logger = logging.getLogger(__name__)

_CAPTIONS = {
    "samples": "Ancestral samples (Eq. 1): a draw of the prior, noise at every latent level, the point at the bottom.",
    "latent-grid": "The deepest latent on an even grid from −2 to +2 standard deviations of the prior.",
    "reconstructions": "Held-out examples in the bottom row; above them what is left through z_1, z_2 and so on, by means.",
    "interpolations": "Pairs of held-out examples in the outer columns, their reconstructions next, the straight path of codes between.",
    "pairs": "The samples that are nearest to a training example, with that one and their distance; in the same way the nearest held-out "
    "examples, which copy nothing.",
    "embeddings-raw": "Codes of held-out examples, as they are.",
    "embeddings-pca": "Codes of held-out examples at every level along their first two principal components.",
    "embeddings-umap": "Codes of held-out examples at every level, laid out by UMAP.",
}
_BLOCKS = {
    "levels": ("levels", "Levels"),
    "baselines": ("baselines", "Baselines"),
    "classes": ("classes", "Classes"),
    "samples": ("scores", "Samples, measured"),
    "generalisation": ("generalisation", "Generalisation"),
    "remarks": ("remarks", "Remarks"),
}
_EXAMPLES, _PAIRS, _SAMPLES = 6, 3, 2000


@dataclass(frozen=True)
class Contents:
    """What a report holds.

    Attributes:
        live: Whether the decoders are evaluated in the page, where they can be.
        measured: How the run is measured; None for no numbers.
        umap: Makes the PNG of the embeddings by UMAP; None leaves it out.
    """

    live: bool = False
    measured: Measured | None = None
    umap: Callable[[], bytes] | None = None


def document(data: FigureData, contents: Contents) -> str:
    """Makes the page of a run.

    Raises:
        OwaeError: The run's model cannot be opened.
    """
    run, name = data.run, data.name
    model = run.model
    numbers = list(_numbers(data, contents))  # which take as long as UMAP does, in a process beside
    sections = [
        ("plane", f"The plane of z_{model.depth}", _plane(data, contents.live)),
        *_figures(data, contents),
        *numbers,
        ("curves", "Curves", _curves(run)),
        ("config", "Config", _config(run)),
    ]
    links = joined(Markup('<a href="#{}">{}</a>').format(key, text(title)) for key, title, _ in sections)
    body = [
        Markup("<header><h1>{}</h1>{}</header>").format(name, _facts(run)),
        Markup("<nav>{}</nav>").format(links),
        Markup("<main>{}</main>").format(joined(section(key, title, content) for key, title, content in sections)),
    ]
    return page(name, joined(body), asset("viewer.js") + asset("report.js"))


def page(title: str, body: Markup, script: str, *, style: str = "", connect: str = "'none'") -> str:
    """Wraps a body and a script into a page that may load nothing and run nothing else.

    Args:
        title: Of the page.
        body: Its content.
        script: What runs in it.
        style: Added to the style of all pages.
        connect: What the script may ask for data, as in a content security policy.
    """
    style = asset("style.css") + style
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; connect-src {connect}; base-uri 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)} · owae</title><style>{style}</style></head>'
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def asset(name: str) -> str:
    """Reads a file of this folder."""
    return resources.files("owae_report.page").joinpath(name).read_text(encoding="utf-8")


def _facts(run: Run) -> Markup:
    levels = " → ".join("×".join(map(str, shape)) for shape in (run.shape, *(layer.latent_shape for layer in run.model.layers)))
    phase = f" of the phase {run.phases[-1]}" if run.phases else ""
    lines = [
        f"{run.config.data.kind}, {levels}, values in [{run.value_range[0]:g}, {run.value_range[1]:g}]",
        f"epoch {run.epoch}, step {run.step}{phase}; {run.folder}",
    ]
    return joined(paragraph(line, "facts") for line in lines)


def _config(run: Run) -> Markup:
    return paragraph("The effective config, every default filled in.", "note") + Markup("<pre>{}</pre>").format(
        (run.folder / CONFIG).read_text(encoding="utf-8").strip()
    )


def _curves(run: Run) -> Markup:
    try:
        return curves(run.folder, run.phases)
    except Exception as error:
        return _failed("the curves", error)


def _plane(data: FigureData, live: bool) -> Markup:
    try:
        found = plane(data.run.model, data.run.value_range, live=live, seed=data.options.seed, shown=data.shown)
    except Exception as error:
        return _failed("the plane", error)
    notes = joined(paragraph(note, "note") for note in found.notes)
    for note in found.notes if live else ():
        logger.log(logging.INFO if found.live else logging.WARNING, "%s", note)
    return _introduction(found) + notes + viewer(found) + embedded_json("plane-data", found.data)


def _introduction(found: Plane) -> Markup:
    if found.data["names"] is None:
        what = "A random plane through 0, stretched so that its corners are as typical of a standard normal as in two dimensions"
    elif found.rows == 1:
        what = f"{found.data['names'][0]} from −2 to 2"
    else:
        what = f"{found.data['names'][0]} from −2 to 2 rightwards, {found.data['names'][1]} upwards"
    moved = "Drag in it, or use the arrow keys, to see what is decoded there."
    return Markup('<p>{}, decoded by the decoders\' means. <span class="screen">{}</span></p>').format(text(what), moved)


def viewer(found: Plane) -> Markup:
    """Makes the elements that `viewer.js` works with; without scripts the sheet or its drawing stands there alone."""
    stretched = ""
    if found.sheet is not None:
        address = data_address(found.sheet, "image/png")
        drawing = Markup('<img src="{}" alt="the plane, decoded on an even grid" draggable="false">').format(address)
        if found.ratio is not None:
            stretched = Markup(' style="aspect-ratio: {}"').format(f"{found.ratio:g}")
    else:
        assert found.values is not None
        drawing = arrays.small_lines(found.values)
    return Markup(
        '<div class="plane{}"><div class="map" id="plane-map"{} tabindex="0" role="application" '
        'aria-label="the plane; arrow keys move in it">{}<span class="marker" hidden></span></div>'
        '<div class="view{}" id="viewer" hidden><canvas id="plane-picture" class="{}" '
        'role="img" aria-label="the decoded event"></canvas><p class="place" id="plane-place" aria-live="polite"></p></div></div>'
        '<noscript><p class="note">Scripts are off, so the plane stands still.</p></noscript>'
    ).format(
        " strip" if found.rows == 1 else "",
        stretched,
        drawing,
        "" if found.sheet is not None else " lines",
        "" if found.sheet is None else "pixels",
    )


def _failed(what: str, error: Exception) -> Markup:
    """Says why a part is not there; whatever a library raises, it costs no other part."""
    why = str(error) if isinstance(error, OwaeError) else f"{type(error).__name__}: {error}"
    logger.warning("%s not in the report: %s", what, why)
    logger.debug("%s not in the report", what, exc_info=True)
    return paragraph(f"Not there: {why}", "warning")


def _figures(data: FigureData, contents: Contents) -> Iterator[tuple[str, str, Markup]]:
    images = [
        name for name in GRIDS if name not in ("latent-grid", "pairs")
    ]  # the viewer shows the grid; pairs stand beside their numbers
    for name in images:
        yield name, name.capitalize(), _figure(data, name, lambda name=name: draw(name, [data])[0])
    parts = []
    for name in EMBEDDINGS:
        if name == "embeddings-umap":
            if contents.umap is not None:
                parts.append(_figure(data, name, contents.umap))
        else:
            parts.append(_figure(data, name, lambda name=name: draw(name, [data])[0]))
    yield "embeddings", "Embeddings", joined(parts)


def _figure(data: FigureData, name: str, make: Callable[[], bytes]) -> Markup:
    try:
        if name in GRIDS and name != "pairs" and not data.drawable:
            return _lines(data, name)
        return figure(make(), name.replace("-", " "), _CAPTIONS[name])
    except NotDrawableError as error:
        return paragraph(f"{name} not drawn: {error}", "note")
    except Exception as error:
        return _failed(name, error)


def _lines(data: FigureData, name: str) -> Markup:
    """Draws what the grids of pictures show where examples are no pictures."""
    if name == "samples":
        drawn = data.drawn.first(_SAMPLES).float()
        held_out = data.examples(_SAMPLES)
        caption = f"{len(drawn)} ancestral samples beside {len(held_out)} held-out examples."
        return paragraph(caption, "note") + arrays.distributions(drawn, held_out)
    if name == "reconstructions":
        caption = "Held-out examples, and what is left of them through every level, by means."
        return paragraph(caption, "note") + arrays.comparisons(data.reconstructed(_EXAMPLES))
    caption = "Pairs of held-out examples, and the decoded straight path between their codes."
    return paragraph(caption, "note") + arrays.paths(data.paths(_PAIRS))


def _numbers(data: FigureData, contents: Contents) -> Iterator[tuple[str, str, Markup]]:
    if contents.measured is None:
        return
    run = data.run
    try:
        result = judge_run(run, contents.measured, data.drawn)
    except Exception as error:
        yield "levels", "Numbers", _failed("the numbers", error)
        return
    data.generalisation = result.generalisation
    for name, found in judgement.blocks(result).items():
        key, title = _BLOCKS[name]
        pairs = [_figure(data, "pairs", lambda: draw("pairs", [data])[0])] if name == "generalisation" else []
        yield key, title, joined([block(found), *pairs])
