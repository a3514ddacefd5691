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
from owae.data.sources import examples
from owae.torch_state import own_randomness
from owae_report.evaluation.neighbours import votes
from owae_report.events import draw_samples
from owae_sweep.pictures import draw_cells

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
    x, y = examples(train), examples(test)
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
        accuracy = float((votes(codes[0], labels, codes[1], k=10) == held_out).float().mean())
        found[weights["reconstruction"]["base"], weights["match"]].append([eq14, distance, accuracy])
    return dict(found), floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the sweep")
    folder = parser.parse_args().folder
    found, floor = measured(folder)
    columns, rows = (sorted({pair[i] for pair in found}) for i in (0, 1))
    across, up = ([f"{value:g}" for value in values] for values in (columns, rows))
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.2), layout="constrained")
    for i, (name, (form, best)) in enumerate(MEASURES.items()):
        values = np.array([[[run[i] for run in found[column, row]] for column in columns] for row in rows])
        mean, deviation = values.mean(-1), values.std(-1, ddof=1)
        said = {at: f"{form.format(m)} ± {form.format(deviation[at])}" for at, m in np.ndenumerate(mean)}
        row, column = np.unravel_index(mean.argmin() if best is min else mean.argmax(), mean.shape)
        pooled = np.sqrt((deviation**2).mean())
        print(f"\n{name}; best at λ_rec {across[column]}, λ_match {up[row]}; s.d. over seeds {pooled:.3g}")
        print("| λ_match | " + " | ".join(f"λ_rec {value}" for value in across) + " |\n" + "|---" * (len(across) + 1) + "|")
        for r, value in enumerate(up):
            print(f"| {value} | " + " | ".join(said[r, c] for c in range(len(across))) + " |")
        draw_cells(axes[i], across, up, mean.tolist(), {at: text.replace(" ", "\n", 1) for at, text in said.items()})
        axes[i].add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec="red", lw=2))
        axes[i].set_title(f"{name} ({'least' if best is min else 'most'})", fontsize=9)
        axes[i].set_xlabel(r"$\lambda_{rec}$")
    axes[0].set_ylabel(r"$\lambda_{match}$")
    figure.savefig(folder / "weights-grid.png", dpi=110)
    print(f"\nFréchet distance of real examples: {floor:.1f}\n{folder / 'weights-grid.png'}")


if __name__ == "__main__":
    main()
