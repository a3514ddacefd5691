"""An evaluation as tables and lines of text, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from owae_report.evaluation.generalisation import Generalisation
from owae_report.evaluation.samples import METRICS
from owae_report.evaluation.scores import LevelScores, Matching
from owae_report.evaluation.whole import Judgement
from owae_report.words import counted, plain

INSTEAD = {"pca": "PCA", "random": "random projection"}
TITLES = {"kid": "KID × 1000", "frechet": "Fréchet distance", "sliced": "sliced Wasserstein"}
FACTORS = {"kid": 1000}


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; the columns named in `right` are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str]


Block = list[Table | str]


def blocks(result: Judgement) -> dict[str, Block]:
    """Puts an evaluation into words: by what is measured, tables and lines in the order in which they are read.

    The blocks are "levels", deepest last, "baselines", "classes", "samples", "generalisation", and "remarks": what was warned of, what
    is missing.
    """
    parts = {"levels": _levels(result), "baselines": _baselines(result)}
    parts["classes"] = _classes(result)
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
    yield f"means over {counted(scores.test, 'held-out example')}; squared error is summed over an example"
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
            [f"z_{level}", INSTEAD[kind], plain(found["error"], 4), *(_correct(found.get(key)) for key in ("accuracy", "probe"))]
            for level, kinds in result.baselines.items()
            for kind, found in kinds.items()
        ]
        yield Table(["as large as", "instead", *names], rows, names)


def _classes(result: Judgement) -> Iterator[Table]:
    """By class, what nearest neighbours get right, and how often the classifier sees it in samples."""
    right, seen = result.classes or {}, (result.samples or {}).get("classes") or {}
    columns = ["held-out examples", f"{result.scores.neighbours}-NN accuracy in z_{len(result.scores.levels)}"] if right else []
    more = ["share of samples", "share of held-out examples"] if seen else []
    rows = []
    for name in dict.fromkeys([*seen, *right]):
        found, shares = right.get(name), seen.get(name)
        row = ["0", "–"] if found is None else [str(found["examples"]), _correct(found["accuracy"])]
        share = ["–", "–"] if shares is None else [f"{100 * shares[key]:.0f}%" for key in ("samples", "data")]
        rows.append([name, *(row if right else []), *(share if seen else [])])
    if rows:
        yield Table(["class", *columns, *more], rows, [*columns, *more])


def _cells(level: LevelScores) -> list[str]:
    return [
        f"z_{level.level}",
        "×".join(map(str, level.shape)),
        plain(level.error, 4),
        _correct(level.accuracy),
        plain(level.spread),
        plain(level.variance),
    ]


def _more(found: dict[str, Any]) -> list[str]:
    dimension = "–" if found["dimension"] is None else plain(found["dimension"])
    share, active = ("–" if found[key] is None else f"{plain(100 * found[key])}%" for key in ("share", "active"))
    return [_correct(found["probe"]), dimension, active, share, found["state"]]


def _correct(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"


def _matching(matching: Matching, which: str) -> str:
    name = matching.description.get("divergence", "divergence")
    text = f"divergence of z_{matching.level} from {which}, {matching.prior} ({name}, n = {matching.n}): {plain(matching.value)}"
    if matching.floor is None:
        return text
    return f"{text}; two samples of it give {plain(matching.floor, 2)} ± {plain(matching.floor_deviation or 0, 2)}"


def _samples(found: dict[str, Any]) -> Iterator[Table | str]:
    usable = {name: each for name, each in found["extractors"].items() if "why" not in each}
    names = [f"by {name}" for name in usable]
    columns = [column for name in names for column in (name, "floor")]
    rows = []
    for metric in METRICS:
        title = _title(usable) if metric == "frechet" else TITLES.get(metric, metric)
        rows.append([title, *(cell for each in usable.values() for cell in _number(each[metric], FACTORS.get(metric, 1)))])
    yield Table(["samples", *columns], rows, columns)
    seeds = len(found["seeds"])
    drawn = counted(found["n"], "sample") + (f" of each of {seeds} seeds (± is over them)" if seeds > 1 else " of one seed")
    yield f"{drawn} against {counted(found['held_out'], 'held-out example')}; floor: training examples in the samples' place"
    for name, each in usable.items():
        resized = "" if not each["resize"] else f", pictures at {'×'.join(map(str, each['resize']))}"
        hashed = "" if not each["hash"] else f", weights {each['hash']}"
        right = "" if each.get("accuracy") is None else f", right on {100 * each['accuracy']:.0f}% of held-out examples"
        yield f"{name}: {each['dimension']} features{resized}{hashed}{right}"
    shown = ", ".join(
        f"{key} {plain(each['samples'])} (data: {plain(each['data'])})" for key, each in found["look"].items() if _both(each)
    )
    if shown:
        yield f"samples have {shown}"


def _both(each: dict[str, float | None]) -> bool:
    return each["samples"] is not None and each["data"] is not None


def _title(usable: dict[str, Any]) -> str:
    titles = {each["title"] for each in usable.values()}
    return " / ".join(sorted(titles)) or "Fréchet distance"


def _number(each: dict[str, Any], factor: float) -> list[str]:
    if each["value"] is None:
        return ["–", "–"]
    deviation = "" if each["deviation"] is None else f" ± {plain(factor * each['deviation'], 1)}"
    floor = "–" if each["floor"] is None else plain(factor * each["floor"])
    return [f"{plain(factor * each['value'])}{deviation}", floor]


def _generalisation(found: Generalisation) -> Iterator[str]:
    ratio = "" if found.ratio is None else f", ratio {plain(found.ratio)}"
    yield (
        f"nearest of {found.train} training examples, by pixels, median distance: samples {plain(found.samples)}, "
        f"held-out examples {plain(found.held_out)}{ratio}"
    )
    copying = "" if found.copying is None else f"; C_T {plain(found.copying)} (below 0: samples are nearer than held-out examples)"
    yield (
        f"authenticity {found.authenticity:.3f} (held-out examples {found.authenticity_held_out:.3f}){copying}; "
        "a diagnostic, not a proof: blurred samples are near, too"
    )
