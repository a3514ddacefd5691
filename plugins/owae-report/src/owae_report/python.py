"""What a run can do from Python: `run.figures.grid()`, `run.evaluate()`, and its samples where a notebook shows it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from owae.run.opened import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from owae_report.evaluation.whole import Judgement


class Figures:
    """The figures of a run, each a matplotlib figure.

    Args:
        run: The run; `run.figures` is one of these.
    """

    def __init__(self, run: Run, /) -> None:
        self._run = run

    def samples(self, number: int = 64, *, seed: int = 0) -> Figure:
        """Draws ancestral samples (Fig. 2a)."""
        return self.draw("samples", number=number, seed=seed)

    def grid(self, side: int = 20, *, seed: int = 0) -> Figure:
        """Draws the deepest latent, decoded on an even grid (Fig. 2b)."""
        return self.draw("latent-grid", side=side, seed=seed)

    def reconstructions(self, number: int = 10, *, seed: int = 0) -> Figure:
        """Draws held-out examples and their reconstructions through every level (Fig. 3b)."""
        return self.draw("reconstructions", number=number, seed=seed)

    def interpolations(self, number: int = 6, *, seed: int = 0) -> Figure:
        """Draws paths between encoded pairs of held-out examples (Fig. 5c)."""
        return self.draw("interpolations", number=number, seed=seed)

    def pairs(self, number: int = 10, *, seed: int = 0) -> Figure:
        """Draws the samples nearest to training examples beside them, and held-out examples beside theirs, by pixels."""
        return self.draw("pairs", number=number, seed=seed)

    def embeddings(self, kind: str = "pca", *, seed: int = 0) -> Figure:
        """Draws the codes of every level: "pca", "umap", or "raw" where they have two dimensions (Figs. 3a, 8a)."""
        return self.draw(f"embeddings-{kind}", seed=seed)

    def draw(self, name: str, **options: Any) -> Figure:
        """Draws the figure of a name, as `owae figures --only` has them, with `owae_report.figure_data.Options`.

        Raises:
            NotDrawableError: It does not exist for this run, whose data are no images for instance.
            OwaeError: The name is unknown, or the run or its data cannot be used.
        """
        from owae_report.figure_data import FigureData, Options
        from owae_report.figures import figure, selected

        (name,) = selected([name])
        return figure(name, [FigureData(self._run, Options(**options))])


def evaluate(run: Run, features: Sequence[str] = (), **options: Any) -> Judgement:
    """Measures a run's levels, samples and generalisation on its held-out data, as `owae evaluate` does.

    Args:
        run: The run; `run.evaluate()` is this.
        features: Extractors by name.
        options: The other fields of `owae_report.evaluation.whole.Options`.
    """
    from owae_report.evaluation.whole import Options, judge_run

    return judge_run(run, Options(features, **options))


def html(run: Run) -> str:
    """Returns a run as a notebook shows it: where it is, and its samples, or the table of its levels where they are no pictures."""
    from html import escape

    from owae_report import blocks
    from owae_report.events import draw_samples
    from owae_report.grids import png
    from owae_report.pixels import drawable, to_pixels

    where = f"<p>{escape(str(run.folder))}, epoch {run.epoch}, step {run.step}</p>"
    if not drawable(run.shape):
        return where + run.model._repr_html_()
    picture = png(blocks.samples(to_pixels(draw_samples(run.model, 32), run.value_range)))
    return f'{where}<img alt="samples" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
