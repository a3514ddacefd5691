"""Makes the page of `owae explore`."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from owae_explore.session import Session
from owae_report.page.document import asset, page
from owae_report.page.parts import embedded_json, joined, paragraph


def explore_page(name: str, session: Session) -> str:
    """Makes the page for a session."""
    with session.lock:
        about = session.about()
    sizes = " → ".join(["×".join(map(str, session.shape)), *map(str, about["dimensions"])])
    html, script, style = (_own(f"explore.{kind}") for kind in ("html", "js", "css"))
    heading = Markup("<header><h1>{}</h1>{}</header>").format(name, paragraph(f"{session.run.config.data.kind}, {sizes}", "facts"))
    body = joined([heading, Markup("<main>{}</main>").format(Markup(html)), embedded_json("about", about)])
    return page(name, body, asset("viewer.js") + script, style=style, connect="'self'")


def _own(name: str) -> str:
    return resources.files("owae_explore").joinpath(name).read_text(encoding="utf-8")
