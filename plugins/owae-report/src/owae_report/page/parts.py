"""Makes HTML. Text is escaped wherever it comes from; what is HTML already is `Markup`."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape
from PIL import Image

from owae_report.page.judgement import Table
from owae_report.style import DPI

_LARGE = 600_000  # bytes of a PNG from which on a smaller form is tried
_SCREEN = 125  # pixels of the screen for an inch of a figure
_BROAD = 700  # pixels from which on a figure is scrolled sideways on a phone, where its letters would be too small


def text(value: object) -> Markup:
    """Escapes text; `z_3` becomes z with a subscript."""
    return Markup(re.sub(r"\bz_(\d+)", r"z<sub>\1</sub>", str(escape(value))))


def joined(parts: Iterable[str]) -> Markup:
    """Joins parts, of which text is escaped."""
    return Markup("").join(parts)


def section(name: str, title: str, *parts: str) -> Markup:
    """Makes a section that the table of contents leads to."""
    return Markup('<section id="{}"><h2>{}</h2>{}</section>').format(name, text(title), joined(parts))


def paragraph(line: object, kind: str = "") -> Markup:
    """Makes a paragraph of text."""
    return Markup('<p class="{}">{}</p>').format(kind, text(line)) if kind else Markup("<p>{}</p>").format(text(line))


def table(found: Table) -> Markup:
    """Makes a table that is scrolled sideways where it is wider than the page."""
    right = set(found.right)
    classes = ["number" if heading in right else "word" for heading in found.headings]

    def row(cells: Iterable[str], tag: str) -> Markup:
        made = (
            Markup('<{0} class="{1}">{2}</{0}>').format(tag, kind, text(cell)) for kind, cell in zip(classes, cells, strict=True)
        )
        return Markup("<tr>{}</tr>").format(joined(made))

    body = joined(row(cells, "td") for cells in found.rows)
    return Markup('<div class="wide" tabindex="0"><table><thead>{}</thead><tbody>{}</tbody></table></div>').format(
        row(found.headings, "th"), body
    )


def block(parts: Iterable[Table | str]) -> Markup:
    """Makes the tables and lines of a block of an evaluation."""
    return joined(table(part) if isinstance(part, Table) else paragraph(part, _kind(part)) for part in parts)


def _kind(line: str) -> str:
    return "warning" if line.startswith(("warning: ", "not computed: ")) else "note"


def figure(png: bytes, alternative: str, caption: str) -> Markup:
    """Makes a figure of a PNG at 300 dpi, no wider than it would be printed and a little."""
    content, kind = _small(png)
    with Image.open(io.BytesIO(png)) as image:
        width, height = (round(side / DPI * _SCREEN) for side in image.size)
    source = data_address(content, f"image/{kind}")
    image = Markup('<img class="{}" src="{}" alt="{}" width="{}" height="{}">').format(
        "paper broad" if width > _BROAD else "paper", source, alternative, width, height
    )
    if width > _BROAD:
        image = Markup('<div class="wide" tabindex="0">{}</div>').format(image)
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(image, text(caption))


def _small(png: bytes) -> tuple[bytes, str]:
    """Returns a large PNG as WebP where that is smaller: photographs are, drawings are not."""
    if len(png) < _LARGE:
        return png, "png"
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        if max(image.size) > 16383:  # the largest that WebP has
            return png, "png"
        image.convert("RGB").save(buffer, format="WEBP", quality=90)
    webp = buffer.getvalue()
    return (webp, "webp") if len(webp) < len(png) else (png, "png")


def data_address(content: bytes, kind: str) -> str:
    """Returns an address that holds the content itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def embedded_json(name: str, value: Any) -> Markup:
    """Makes a block of JSON for scripts; nothing in it can end the block."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(written))
