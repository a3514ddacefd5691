"""Numbers and counts as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LONGEST = 1e7  # from which on digits are counted by an exponent


def plain(value: float, digits: int = 3) -> str:
    """Writes a number with some significant digits, and without an exponent unless it is very large or small; a dash for none.

    >>> plain(6987.4), plain(30.0, 1), plain(0.0123), plain(1e-9), plain(float("nan"))
    ('6990', '30', '0.0123', '1e-09', '–')
    """
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < _LONGEST else text


def counted(n: int, noun: str) -> str:
    """Counts things.

    >>> counted(1, "example"), counted(2, "example")
    ('1 example', '2 examples')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Shortens names to some letters and keeps different ones apart: at the end, in the middle, or at last by their places.

    >>> shortened(["a house sparrow", "a house martin"], 8), shortened(["cat", "house sparrow"], 8)
    (['a h…rrow', 'a h…rtin'], ['cat', 'house s…'])
    """

    def by_end(name: str) -> str:
        return f"{name[: most - 1]}…"

    def by_middle(name: str) -> str:
        return f"{name[: most - 1 - most // 2]}…{name[-(most // 2) :]}"

    for cut in (by_end, by_middle):
        made = [name if len(name) <= most else cut(name) for name in names]
        if len(set(made)) == len(set(names)):
            return made
    return [name if len(name) <= most else f"{name[: most - 2 - len(str(i))]}… {i}" for i, name in enumerate(names)]
