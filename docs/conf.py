"""How Sphinx builds the site. `tools/site.py` copies these documents, adds the generated pages and runs it."""

from __future__ import annotations

import re

from owae import __version__

project = "owae"
author = "the owae authors"
copyright = "the owae authors"  # Sphinx's name
release = version = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"owae {__version__}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
myst_heading_anchors = 3
templates_path: list[str] = []


_LINK = re.compile(r"(?<!!)\[`?([^\]`]+)`?\]\(\.\./([^)#]+)[^)]*\)")


def _outside(app: object, name: str, content: list[str]) -> None:
    """Names what lies outside the documents instead of linking to it, for the site does not hold it; but it has the changelog."""
    if "/" not in name:
        content[0] = _LINK.sub(r"`\2`", content[0].replace("](../CHANGELOG.md)", "](changelog.md)"))


def setup(app: object) -> None:
    app.connect("source-read", _outside)  # pyright: ignore[reportAttributeAccessIssue] # Sphinx's application
