"""An evaluation as a table."""

from __future__ import annotations

from owae.cli.tables import print_line, print_table
from owae_report.evaluation.scores import Evaluation, LevelScores, Matching


def print_scores(result: Evaluation) -> None:
    """Print the levels, deepest last, and what the divergence says."""
    numbers = ["squared error", f"{result.neighbours}-NN accuracy", "spread", "encoder variance"]
    print_table(["level", "shape", *numbers], map(_cells, result.levels), right=numbers)
    print_line(f"means over {result.test} held-out examples; squared error is summed over an example")
    if result.matching is not None:
        print_line(_matching(result.matching))
    if result.stacked < len(result.levels):
        print_line(f"stacking stopped at z_{result.stacked}: the encoders above it had no part in the objective")


def _cells(level: LevelScores) -> list[str]:
    return [
        f"z_{level.level}",
        "×".join(map(str, level.shape)),
        f"{level.error:.4g}",
        "–" if level.accuracy is None else f"{level.accuracy:.3f}",
        f"{level.spread:.3g}",
        f"{level.variance:.3g}",
    ]


def _matching(matching: Matching) -> str:
    name = matching.description.get("divergence", "divergence")
    text = f"divergence from the prior at z_{matching.level} ({name}, n = {matching.n}): {matching.value:.3g}"
    if matching.floor is None:
        return text
    return f"{text}; two samples of the prior give {matching.floor:.2g} ± {matching.floor_deviation:.2g}"
