"""What a sweep over the paper's two weights chose: Eq. 14, samples and codes of all its runs, measured alike and drawn.

    owae sweep examples/mnist_grid.toml --out runs/grid
    python benchmarks/weights_grid.py runs/grid

Eq. 14 is measured on the held-out examples, under each run's own weights: what training logs is of one batch. Prints a table a
measure, and draws them into the sweep's folder.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from claims.quality import frechet, train_classifier

from owae import Registry, Run
from owae.restoring import own_randomness
from owae_report.evaluation.neighbours import Neighbours
from owae_report.events import draw_samples

MEASURES = {
    "Eq. 14 on held-out examples": ("{:.2f}", min),
    "Fréchet distance of samples": ("{:.0f}", min),
    "10-NN at the top": ("{:.2f}", max),
}
DRAWS, SAMPLES = 3, 1000


def measured(folder: Path) -> tuple[dict[tuple[float, float], list[list[float]]], float]:
    """Returns the measures of each run, a list for each pair (λ_rec, λ_match), and the Fréchet distance between real examples."""
    registry = Registry.discover()
    runs = [Run(path, registry) for path in sorted((folder / "runs").iterdir()) if (path / "run.json").exists()]
    train, test = runs[0].source("train"), runs[0].source("test")
    x, y = (_floats(source.batch(torch.arange(len(source)))) for source in (train, test))
    labels, held_out = torch.as_tensor(train.labels), torch.as_tensor(test.labels)
    classifier = train_classifier(x, labels)
    generator = torch.Generator().manual_seed(0)
    floor = frechet(classifier, x[torch.randperm(len(x), generator=generator)[:SAMPLES]], y)
    found: dict[tuple[float, float], list[list[float]]] = defaultdict(list)
    for run in runs:
        weights = json.loads((run.folder / "run.json").read_text())["config"]["weights"]
        stack = run.model
        with torch.no_grad(), own_randomness(0):
            eq14 = sum(float(stack(y).transport) for _ in range(DRAWS)) / DRAWS
            distance = frechet(classifier, draw_samples(stack, SAMPLES).reshape(-1, *x.shape[1:]), y)
            codes = [stack.encode(each)[-1].flatten(1) for each in (x, y)]
        nearest = Neighbours(codes[1], k=10)
        nearest.add(codes[0], labels)
        accuracy = float((nearest.vote() == held_out).float().mean())
        found[weights["reconstruction"]["base"], weights["match"]].append([eq14, distance, accuracy])
    return dict(found), floor


def _floats(x: torch.Tensor) -> torch.Tensor:
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the sweep")
    folder = parser.parse_args().folder
    found, floor = measured(folder)
    columns, rows = (sorted({pair[i] for pair in found}) for i in (0, 1))
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.9), layout="constrained")
    for i, (name, (form, best)) in enumerate(MEASURES.items()):
        values = np.array([[[run[i] for run in found[column, row]] for column in columns] for row in rows])
        mean, deviation = values.mean(-1), values.std(-1, ddof=1)
        chosen = np.unravel_index(mean.argmin() if best is min else mean.argmax(), mean.shape)
        pair = f"λ_rec {columns[chosen[1]]:g}, λ_match {rows[chosen[0]]:g}"
        print(f"\n{name}; best at {pair}; s.d. over seeds {np.sqrt((deviation**2).mean()):.3g}")
        print("| λ_match | " + " | ".join(f"λ_rec {column:g}" for column in columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
        for row, means, deviations in zip(rows, mean, deviation, strict=True):
            cells = (f"{form.format(m)} ± {form.format(d)}" for m, d in zip(means, deviations, strict=True))
            print(f"| {row:g} | " + " | ".join(cells) + " |")
        axes[i].imshow(mean, cmap="viridis_r" if best is min else "viridis", origin="lower", aspect="auto")
        shade = (mean - mean.min()) / np.ptp(mean)
        for (r, c), m in np.ndenumerate(mean):
            dark = shade[r, c] > 0.5 if best is min else shade[r, c] < 0.5
            text = f"{form.format(m)}\n±{form.format(deviation[r, c])}"
            axes[i].text(c, r, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
        axes[i].add_patch(Rectangle((chosen[1] - 0.5, chosen[0] - 0.5), 1, 1, fill=False, ec="red", lw=2))
        axes[i].set_xticks(range(len(columns)), [f"{column:g}" for column in columns])
        axes[i].set_yticks(range(len(rows)), [f"{row:g}" for row in rows])
        axes[i].set_title(f"{name} ({'least' if best is min else 'most'})", fontsize=9)
        axes[i].set_xlabel(r"$\lambda_{rec}$")
    axes[0].set_ylabel(r"$\lambda_{match}$")
    figure.savefig(folder / "weights-grid.png", dpi=110)
    print(f"\nFréchet distance of real examples: {floor:.1f}\n{folder / 'weights-grid.png'}")


if __name__ == "__main__":
    main()
