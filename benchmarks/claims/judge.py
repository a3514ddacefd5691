"""The claims, each as one sentence: held or not, and by how much."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from claims.models import DEEP, HVAE, STACKED, STACKED_LOGVAR, WAE
from claims.tables import REFITTED, Results, with_refitted

Measure = Callable[[Mapping[str, Any]], float]
DETERMINISTIC = 1e-3  # of the encoder's variance over its spread squared


def judge(results: Results, floor: Mapping[str, float]) -> None:
    """Print the sentences for the models that are there."""
    rows = with_refitted(results)
    print("\n**Claims**\n")
    deepest, share = _last("neighbours"), _value("share")
    for model in (STACKED, DEEP):
        _compare(
            rows, f"The deepest level of {model} carries more of the labels than that of Eq. 8 (10-NN at z_5)", deepest, model, WAE
        )
        _compare(rows, "… even where Eq. 8's encoders are fitted afterwards", deepest, model, WAE + REFITTED)
        _compare(rows, f"Decoding uses more of {model}'s deepest level than of Eq. 8's (share of variance)", share, model, WAE)
        _compare(rows, f"The grid of {model} shows more digits than that of Eq. 8", _value("grid digits"), model, WAE)
        for other in (WAE, HVAE):
            _compare(
                rows, f"Samples of {model} are nearer to digits than those of {other} (Fréchet)", _value("frechet"), other, model
            )
        _compare(rows, f"The deepest level of {model} carries more of the labels than that of the HVAE", deepest, model, HVAE)
    for model in (STACKED, DEEP):
        for run_name in [model] if model in rows else []:
            rough = [statistics.fmean(values) for values in zip(*(run["roughness"] for run in rows[run_name]), strict=True)]
            falls = all(a >= b for a, b in itertools.pairwise(rough))
            shown = ", ".join(f"{value:.3f}" for value in rough)
            _say(
                f"Reconstructions of {model} get smoother with depth: roughness {shown} (the data: {floor['roughness']:.3f})", falls
            )
    if STACKED in rows and STACKED_LOGVAR in rows:
        without, with_ = (min(_noise(rows[name], level) for level in range(4)) for name in (STACKED, STACKED_LOGVAR))
        _say(
            "Without the log-variance penalty encoders turn deterministic: the least share of an encoder's variance in its level's "
            f"is {without:.1e}, with it {with_:.1e}",
            without < DETERMINISTIC < with_,
        )


def _compare(rows: Mapping[str, Any], claim: str, measure: Measure, more: str, less: str) -> None:
    """A claim that a measure of one model exceeds that of another: by over two standard errors of the difference.

    One seed has no standard error, so with one nothing is said to hold or not.
    """
    if more not in rows or less not in rows:
        return
    a, b = ([measure(run) for run in rows[name]] for name in (more, less))
    difference = statistics.fmean(a) - statistics.fmean(b)
    numbers = f"{claim}: {more} {statistics.fmean(a):.3g}, {less} {statistics.fmean(b):.3g}"
    if min(len(a), len(b)) == 1:
        _say(f"{numbers}, from one seed", None)
        return
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (a, b)))
    _say(f"{numbers}, standard error of the difference {error:.2g}", difference > 2 * error)


def _say(sentence: str, holds: bool | None) -> None:
    verdict = {True: "Held", False: "Not held", None: "Undecided"}[holds]
    print(f"- {verdict}. {sentence}.")


def _value(key: str) -> Measure:
    return lambda run: float(run[key])


def _last(key: str) -> Measure:
    return lambda run: float(run[key][-1])


def _noise(runs: Any, level: int) -> float:
    return statistics.fmean(run["variance"][level] / run["spread"][level] ** 2 for run in runs)
