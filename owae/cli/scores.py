"""An evaluation as a table: drawn on a terminal, aligned columns elsewhere."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from owae.evaluation import Evaluation, Matching

_PIPED_WIDTH = 160  # a pipe has no width, and no column should be cut to an assumed one


def print_scores(result: Evaluation) -> None:
    """Print the levels, deepest last, and what the divergence says."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    table.add_column("level")
    table.add_column("shape")
    for heading in ("squared error", f"{result.neighbours}-NN accuracy", "spread", "encoder variance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level in result.levels:
        table.add_row(
            f"z_{level.level}",
            "×".join(map(str, level.shape)),
            f"{level.error:.4g}",
            "–" if level.accuracy is None else f"{level.accuracy:.3f}",
            f"{level.spread:.3g}",
            f"{level.variance:.3g}",
        )
    console.print(table)
    console.print(f"means over {result.test} held-out examples; squared error is summed over an example")
    if result.matching is not None:
        console.print(_matching(result.matching))
    if result.stacked < len(result.levels):
        console.print(f"stacking stopped at z_{result.stacked}: the encoders above it had no part in the objective")


def _matching(matching: Matching) -> str:
    name = matching.description.get("divergence", "divergence")
    text = f"divergence from the prior at z_{matching.level} ({name}, n = {matching.n}): {matching.value:.3g}"
    if matching.floor is None:
        return text
    return f"{text}; two samples of the prior give {matching.floor:.2g} ± {matching.floor_deviation:.2g}"
