"""An evaluation as tables and lines of text, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from owae_report.evaluation.generalisation import Generalisation
from owae_report.evaluation.samples import METRICS
from owae_report.evaluation.scores import LevelScores, Matching
from owae_report.evaluation.whole import Judgement

INSTEAD = {"pca": "PCA", "random": "random projection"}
TITLES = {"kid": "KID × 1000", "sliced": "sliced Wasserstein"}


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; the columns named in `right` are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str]


Block = list[Table | str]


def blocks(result: Judgement) -> dict[str, Block]:
    """Puts an evaluation into words: by what is measured, tables and lines in the order in which they are read.

    The blocks are "levels", deepest last, "baselines", "samples", "generalisation", and "remarks", what was warned of or is missing.
    """
    parts = {"levels": _levels(result), "baselines": _baselines(result)}
    if result.samples is not None:
        parts["samples"] = _samples(result.samples)
    if result.generalisation is not None:
        parts["generalisation"] = _generalisation(result.generalisation)
    warnings = result.samples["warnings"] if result.samples is not None else ()
    parts["remarks"] = iter([*(f"warning: {each}" for each in warnings), *(f"not computed: {each}" for each in result.missing)])
    return {name: block for name, each in parts.items() if (block := list(each))}


def _levels(result: Judgement) -> Iterator[Table | str]:
    scores = result.scores
    numbers = ["squared error", f"{scores.neighbours}-NN accuracy", "spread", "encoder variance"]
    more = ["probe", "TwoNN dimension", "active", "share"] if result.levels else []
    ending = ["state"] if more else []
    rows = [[*_cells(level), *(_more(result.levels[i]) if result.levels else [])] for i, level in enumerate(scores.levels)]
    yield Table(["level", "shape", *numbers, *more, *ending], rows, [*numbers, *more])
    yield f"means over {scores.test} held-out examples; squared error is summed over an example"
    if scores.matching is not None:
        yield _matching(
            scores.matching, "the prior" if scores.matching_trained is None else "the prior that samples are drawn from"
        )
    if scores.matching_trained is not None:
        yield _matching(scores.matching_trained, "the prior that the encoders were trained to match")
    if scores.stacked < len(scores.levels):
        yield f"stacking stopped at z_{scores.stacked}: the encoders above it had no part in the objective"


def _baselines(result: Judgement) -> Iterator[Table | str]:
    scores = result.scores
    if result.baselines:
        names = ["squared error", f"{scores.neighbours}-NN accuracy", "probe"]
        rows = [
            [f"z_{level}", INSTEAD[kind], f"{found['error']:.4g}", *(_decimal(found.get(key)) for key in ("accuracy", "probe"))]
            for level, kinds in result.baselines.items()
            for kind, found in kinds.items()
        ]
        yield Table(["as large as", "instead", *names], rows, names)
    if result.classes:
        shown = ", ".join(f"{name} {found['accuracy']:.3f}" for name, found in result.classes.items())
        yield f"{scores.neighbours}-NN accuracy in z_{len(scores.levels)} by class: {shown}"


def _cells(level: LevelScores) -> list[str]:
    return [
        f"z_{level.level}",
        "×".join(map(str, level.shape)),
        f"{level.error:.4g}",
        "–" if level.accuracy is None else f"{level.accuracy:.3f}",
        f"{level.spread:.3g}",
        f"{level.variance:.3g}",
    ]


def _more(found: dict[str, Any]) -> list[str]:
    share, active = ("–" if found[key] is None else f"{100 * found[key]:.3g}%" for key in ("share", "active"))
    return [_decimal(found["probe"]), _decimal(found["dimension"]), active, share, found["state"]]


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) >= 1 or value == 0 else f"{value:.3f}"


def _matching(matching: Matching, which: str) -> str:
    name = matching.description.get("divergence", "divergence")
    text = f"divergence of z_{matching.level} from {which}, {matching.prior} ({name}, n = {matching.n}): {matching.value:.3g}"
    if matching.floor is None:
        return text
    return f"{text}; two samples of it give {matching.floor:.2g} ± {matching.floor_deviation:.2g}"


def _samples(found: dict[str, Any]) -> Iterator[Table | str]:
    usable = {name: each for name, each in found["extractors"].items() if "why" not in each}
    names = [f"by {name}" for name in usable]
    columns = [column for name in names for column in (name, "floor")]
    rows = []
    for metric in METRICS:
        title = TITLES.get(metric) or (metric if metric != "frechet" else _title(usable))
        rows.append([title, *(cell for each in usable.values() for cell in _number(each[metric], 1000 if metric == "kid" else 1))])
    yield Table(["samples", *columns], rows, columns)
    seeds = len(found["seeds"])
    drawn = f"{found['n']} samples of each of {seeds} seed{'s' if seeds > 1 else ''} (± is over them)"
    yield f"{drawn} against {found['held_out']} held-out examples; floor: training examples in the samples' place"
    for name, each in usable.items():
        resized = "" if not each["resize"] else f", pictures at {'×'.join(map(str, each['resize']))}"
        hashed = "" if not each["hash"] else f", weights {each['hash']}"
        yield f"{name}: {each['dimension']} features{resized}{hashed}"
    shown = ", ".join(
        f"{key} {each['samples']:.3g} (data: {each['data']:.3g})" for key, each in found["look"].items() if _both(each)
    )
    if shown:
        yield f"samples have {shown}"
    if found["classes"]:
        shares = ", ".join(
            f"{name} {100 * each['samples']:.0f}% ({100 * each['data']:.0f}%)" for name, each in found["classes"].items()
        )
        yield f"the classifier's classes of samples (of held-out examples): {shares}"


def _both(each: dict[str, float | None]) -> bool:
    return each["samples"] is not None and each["data"] is not None


def _title(usable: dict[str, Any]) -> str:
    titles = {each["title"] for each in usable.values()}
    return " / ".join(sorted(titles)) or "Fréchet distance"


def _number(each: dict[str, Any], factor: float) -> list[str]:
    if each["value"] is None:
        return ["–", "–"]
    deviation = "" if each["deviation"] is None else f" ± {factor * each['deviation']:.1g}"
    floor = "–" if each["floor"] is None else f"{factor * each['floor']:.3g}"
    return [f"{factor * each['value']:.3g}{deviation}", floor]


def _generalisation(found: Generalisation) -> Iterator[str]:
    ratio = "" if found.ratio is None else f", ratio {found.ratio:.3g}"
    yield (
        f"nearest of {found.train} training examples, by pixels, median distance: samples {found.samples:.3g}, "
        f"held-out examples {found.held_out:.3g}{ratio}"
    )
    copying = "" if found.copying is None else f"; C_T {found.copying:.3g} (below 0: samples are nearer than held-out examples)"
    yield (
        f"authenticity {found.authenticity:.3f} (held-out examples {found.authenticity_held_out:.3f}){copying}; "
        "a diagnostic, not a proof: blurred samples are near, too"
    )
