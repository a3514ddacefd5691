"""Lines as SVG, drawn without scripts; colours are the page's, so that they fit light, dark and paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from owae_report.page.parts import joined, text

WIDTH, HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 24  # at least, on the left
_LETTER = 6.2  # pixels of a figure of a tick's number
_MOST = 300  # points of a line
_LOGARITHMIC = 30.0  # the ratio of the largest to the smallest value from which on the axis is logarithmic
COLOURS = 10

Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels.

    Attributes:
        low: The value at `start`.
        high: The value at `end`.
        start: A pixel.
        end: A pixel.
        logarithmic: Whether equal ratios have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Returns the pixel of a value."""
        low, high, value = (
            (math.log(each) for each in (self.low, self.high, value)) if self.logarithmic else (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Returns round values within the axis, some five of them."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first >= 1:
                return [10.0**k for k in range(first, last + 1, max(1, math.ceil((last - first) / 5)))]
        span = self.high - self.low
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next(m for m in (1, 2, 5, 10) if span / (m * step) <= 5)
        return [k * step for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def chart(
    title: str,
    lines: Mapping[str, Points],
    across: str,
    *,
    band: tuple[float, float] | None = None,
    linear: bool = False,
    classes: Mapping[str, str] | None = None,
) -> Markup:
    """Draws lines over one another, with a legend below where there are several.

    Args:
        title: Above it.
        lines: By name, their points from left to right; a y of None breaks the line.
        across: What x is.
        band: Values of y between which the ground is shaded.
        linear: Whether the axis of y is linear whatever the values are.
        classes: CSS classes of lines by name, in place of a colour each in order.
    """
    kept = {name: thinned(points) for name, points in lines.items()}
    known = [y for points in kept.values() for _, y in points if y is not None]
    places = [x for points in kept.values() for x, _ in points]
    caption = Markup("<figcaption><strong>{}</strong>{}</figcaption>")
    if not known:
        return Markup('<figure class="chart">{}</figure>').format(caption.format(text(title), ": no value is finite"))
    low, high = min([*known, *(band or ())]), max([*known, *(band or ())])
    logarithmic = not linear and band is None and low > 0 and high / low > _LOGARITHMIC
    low, high = _widened(low, high, logarithmic)
    right = max(places) if max(places) > min(places) else min(places) + 1
    y = Axis(low, high, HEIGHT - _BOTTOM, _TOP, logarithmic)
    left = max(_LEFT, 6 + math.ceil(_LETTER * max((len(number(tick)) for tick in y.ticks()), default=0)))
    x = Axis(min(places), right, left, WIDTH - _RIGHT)
    parts = [*_grid(x, y, across)]
    if band is not None:
        top, bottom = sorted((y(band[0]), y(band[1])))
        parts.append(
            Markup('<rect class="band" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
                left, top, WIDTH - left - _RIGHT, max(bottom - top, 0.5)
            )
        )
    entries = []
    for i, (name, points) in enumerate(kept.items()):
        kind = (classes or {}).get(name, f"line c{i % COLOURS}" + (" dashed" if i >= COLOURS else ""))
        parts.append(Markup('<path class="{}" d="{}"><title>{}</title></path>').format(kind, path(points, x, y), name))
        entries.append(
            Markup('<span><svg viewBox="0 0 16 8" class="key"><path class="{}" d="M0 4H16"/></svg><span>{}</span></span>').format(
                kind, text(name)
            )
        )
    legend = Markup('<span class="legend">{}</span>').format(joined(entries)) if len(entries) > 1 else ""
    drawing = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(WIDTH, HEIGHT, title, joined(parts))
    return Markup('<figure class="chart">{}{}</figure>').format(caption.format(text(title), ""), joined([drawing, legend]))


def thinned(points: Points) -> Points:
    """Returns at most 300 points, evenly taken, the last one among them."""
    step = math.ceil(len(points) / _MOST)
    return [*points[:-1][::step], *points[-1:]]


def path(points: Points, x: Axis, y: Axis) -> str:
    """Writes points as the path of an SVG."""
    parts, pen = [], "M"
    for at, value in points:
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x(at):.1f} {y(value):.1f}")
        pen = "L"
    if len(parts) == 1:
        parts.append("h0.1")  # a point alone is seen, too, with round ends
    return "".join(parts)


def _widened(low: float, high: float, logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        return low / 1.1, high * 1.1
    margin = 0.04 * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _grid(x: Axis, y: Axis, across: str) -> list[Markup]:
    parts = []
    for value in y.ticks():
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(x.start, y(value), WIDTH - _RIGHT))
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(x.start - 4, y(value) + 3.5, number(value))
        )
    for value in x.ticks():
        parts.append(Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x(value), HEIGHT - 8, number(value)))
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(x.start - 12, HEIGHT - 8, across))
    return parts


def number(value: float) -> str:
    """Writes the number of a tick, as 0.05, 2000, 1e-05."""
    return f"{value:.4g}".replace("-", "−")
