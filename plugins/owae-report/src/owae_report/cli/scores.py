"""An evaluation as tables."""

from __future__ import annotations

from typing import Any

from owae.cli.tables import print_line, print_table
from owae_report.evaluation.generalisation import Generalisation
from owae_report.evaluation.samples import METRICS
from owae_report.evaluation.scores import LevelScores, Matching
from owae_report.evaluation.whole import Judgement

INSTEAD = {"pca": "PCA", "random": "random projection"}
TITLES = {"kid": "KID × 1000", "sliced": "sliced Wasserstein"}


def print_judgement(result: Judgement) -> None:
    """Prints the levels, deepest last, what the divergence says, the samples and their nearest training examples."""
    _print_levels(result)
    if result.samples is not None:
        print_line()
        _print_samples(result.samples)
    if result.generalisation is not None:
        print_line()
        _print_generalisation(result.generalisation)
    for warning in result.samples["warnings"] if result.samples is not None else ():
        print_line(f"warning: {warning}")
    for text in result.missing:
        print_line(f"not computed: {text}")


def _print_levels(result: Judgement) -> None:
    scores = result.scores
    numbers = ["squared error", f"{scores.neighbours}-NN accuracy", "spread", "encoder variance"]
    more = ["probe", "TwoNN dimension", "active", "share"] if result.levels else []
    ending = ["state"] if more else []
    rows = [[*_cells(level), *(_more(result.levels[i]) if result.levels else [])] for i, level in enumerate(scores.levels)]
    print_table(["level", "shape", *numbers, *more, *ending], rows, right=[*numbers, *more])
    print_line(f"means over {scores.test} held-out examples; squared error is summed over an example")
    if scores.matching is not None:
        print_line(_matching(scores.matching))
    if scores.stacked < len(scores.levels):
        print_line(f"stacking stopped at z_{scores.stacked}: the encoders above it had no part in the objective")
    if result.baselines:
        print_line()
        names = ["squared error", f"{scores.neighbours}-NN accuracy", "probe"]
        rows = [
            [f"z_{level}", INSTEAD[kind], *(_decimal(found.get(key)) for key in ("error", "accuracy", "probe"))]
            for level, kinds in result.baselines.items()
            for kind, found in kinds.items()
        ]
        print_table(["as large as", "instead", *names], rows, right=names)
    if result.classes:
        shown = ", ".join(f"{name} {found['accuracy']:.3f}" for name, found in result.classes.items())
        print_line(f"{scores.neighbours}-NN accuracy in z_{len(scores.levels)} by class: {shown}")


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


def _matching(matching: Matching) -> str:
    name = matching.description.get("divergence", "divergence")
    text = f"divergence from the prior at z_{matching.level} ({name}, n = {matching.n}): {matching.value:.3g}"
    if matching.floor is None:
        return text
    return f"{text}; two samples of the prior give {matching.floor:.2g} ± {matching.floor_deviation:.2g}"


def _print_samples(found: dict[str, Any]) -> None:
    usable = {name: each for name, each in found["extractors"].items() if "why" not in each}
    names = [f"by {name}" for name in usable]
    columns = [column for name in names for column in (name, "floor")]
    rows = []
    for metric in METRICS:
        title = TITLES.get(metric) or (metric if metric != "frechet" else _title(usable))
        rows.append([title, *(cell for each in usable.values() for cell in _number(each[metric], 1000 if metric == "kid" else 1))])
    print_table(["samples", *columns], rows, right=columns)
    seeds = len(found["seeds"])
    drawn = f"{found['n']} samples of each of {seeds} seed{'s' if seeds > 1 else ''} (± is over them)"
    print_line(f"{drawn} against {found['held_out']} held-out examples; floor: training examples in the samples' place")
    for name, each in usable.items():
        resized = "" if not each["resize"] else f", pictures at {'×'.join(map(str, each['resize']))}"
        hashed = "" if not each["hash"] else f", weights {each['hash']}"
        print_line(f"{name}: {each['dimension']} features{resized}{hashed}")
    shown = ", ".join(
        f"{key} {each['samples']:.3g} (data: {each['data']:.3g})" for key, each in found["look"].items() if _both(each)
    )
    if shown:
        print_line(f"samples have {shown}")
    if found["classes"]:
        shares = ", ".join(
            f"{name} {100 * each['samples']:.0f}% ({100 * each['data']:.0f}%)" for name, each in found["classes"].items()
        )
        print_line(f"the classifier's classes of samples (of held-out examples): {shares}")


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


def _print_generalisation(found: Generalisation) -> None:
    ratio = "" if found.ratio is None else f", ratio {found.ratio:.3g}"
    print_line(
        f"nearest of {found.train} training examples, by pixels, median distance: samples {found.samples:.3g}, "
        f"held-out examples {found.held_out:.3g}{ratio}"
    )
    copying = "" if found.copying is None else f"; C_T {found.copying:.3g} (below 0: samples are nearer than held-out examples)"
    print_line(
        f"authenticity {found.authenticity:.3f} (held-out examples {found.authenticity_held_out:.3f}){copying}; "
        "a diagnostic, not a proof: blurred samples are near, too"
    )
