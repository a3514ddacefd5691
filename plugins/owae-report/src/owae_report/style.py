"""The house style: sizes, fonts, colours, and how a figure becomes the bytes of a file.

Figures are made by matplotlib's objects on a canvas of their own, inside `styled()`: no global figure, no display, and nothing of
the user's matplotlibrc, so that a seed gives the same bytes everywhere the same versions are installed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300
COLUMN, PAGE, PAGE_HEIGHT = 3.25, 6.75, 9.0  # inches: one column of two, both, and what a page holds above a caption
TEXT, SMALL = 9.0, 8.0  # points
INK, FAINT = "#1a1a1a", "#8c8c8c"
NEUTRAL = "#3b6ea5"  # points where there are no classes
NO_CLASS = "#c4c4c4"  # a point without a class among others that have one
FORMATS = ("png", "pdf")

# Ten colours told apart in common colour blindness and by their lightness (Petroff 2021, arXiv:2107.02270), in the author's order.
_TEN = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")

_SETTINGS: dict[str, Any] = {
    # Matplotlib ships both, so that a figure does not depend on a machine's fonts; the second has what the first lacks.
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "font.size": SMALL,
    "axes.titlesize": TEXT,
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,  # text stays text: to be searched, and set in the reader's weight
    "pdf.compression": 9,
    "image.interpolation": "none",
    "image.composite_image": False,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


@contextmanager
def styled() -> Iterator[None]:
    """A block in which figures are made and rendered in the house style; matplotlib's settings are then as they were."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # pyright: ignore[reportArgumentType, reportCallIssue] # its stubs list every key
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, on a canvas that draws without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, format: str) -> bytes:
    """A figure as the bytes of a PNG at 300 dpi or of a PDF; the same figure gives the same bytes, for no date is in them."""
    buffer = io.BytesIO()
    metadata = {"CreationDate": None} if format == "pdf" else None
    figure.savefig(buffer, format=format, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def colours(count: int) -> Float[np.ndarray, "{count} 3"]:
    """RGB of so many classes: the ten that are told apart best, or, for more, evenly from a map of many hues."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if count <= len(_TEN):
        chosen = list(_TEN[:count])
        if count > 8:
            # The two greys would fall on 3 and 8, the handwritten digits that lie beside each other.
            chosen[1], chosen[8] = chosen[8], chosen[1]
        return np.array([to_rgb(colour) for colour in chosen]).reshape(count, 3)
    return colormaps["turbo"](np.linspace(0.03, 0.97, count))[:, :3]
