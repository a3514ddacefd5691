"""What makes a deep level carry something: variants of examples/mnist_deep.toml, each a few changes of its config.

Every variant is trained and then measured on the held-out digits in evaluation mode; a row a variant. Runs that are there already are
taken up again, so variants can be trained a few at a time.

    python benchmarks/deep_variants.py [--epochs 100] [--seed 0] [--only "layer norm" …] [--out runs/variants]
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from owae import Config, Registry
from owae.run.train import train
from owae_report.evaluation.scores import evaluate

CONFIG = Path(__file__).parents[1] / "examples" / "mnist_deep.toml"
LEVELS = range(5)


def everywhere(change: str, levels: range | list[int] = LEVELS) -> list[str]:
    """A change of every level's table."""
    return [f"levels.{i}.{change}" for i in levels]


LATENT = [*everywhere("target=code", range(1, 5)), *everywhere("space=latent", range(1, 5))]
PAPER = ["weights.reconstruction={rule='power', base=0.5, per_dimension=true}", "weights.match=0.001"]
NARROW = [f"levels.{i}.layer.hidden=[{width}, {width}]" for i, width in enumerate((512, 256, 128, 64, 32))]

VARIANTS: dict[str, list[str]] = {
    "as it stands: data as target, w_i = .3": [],
    "the level's code as target": everywhere("target=code", range(1, 5)),
    "costs in the latents, same weights": LATENT,
    "costs in the latents, the paper's weights (λ_rec .5)": [*LATENT, *PAPER],
    "costs in the latents, the paper's weights, 300 epochs": [*LATENT, *PAPER, "train.epochs=300"],
    "data space at the two deepest levels alone": [
        *everywhere("target=code", [1, 2]),
        *everywhere("space=latent", [1, 2]),
    ],
    "w_i = 1": ["weights.reconstruction.value=1.0"],
    "w_i = .1": ["weights.reconstruction.value=0.1"],
    "match weight 10": ["weights.match=10.0"],
    "layer norm": everywhere("layer.norm=layer"),
    "no norm": everywhere("layer.norm=none"),
    "widths 512-256-128-64-32": NARROW,
    "closed-form MMD": ["divergence.estimator=closed-form"],
    "200 epochs": ["train.epochs=200"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    arguments = parser.parse_args()
    logging.getLogger("owae").setLevel(logging.ERROR)
    registry = Registry.discover()
    print("| variant | squared error through z_1 … z_5 | 10-NN of z_1 … z_5 | MMD at z_5, s.d. from its floor | spread of z_5 |")
    print("|---|---|---|---|---|")
    for name in arguments.only:
        common = [f"train.epochs={arguments.epochs}", f"train.seed={arguments.seed}", "train.pictures_every=0"]
        config = Config.load(CONFIG, registry, [*common, *VARIANTS[name]])
        folder = arguments.out / f"{list(VARIANTS).index(name):02}-{arguments.seed}"
        run = train(config, registry, out=folder, resume=folder.exists())
        scores = evaluate(run.model, run.source("train"), run.source("test"))
        errors = ", ".join(f"{level.error:.1f}" for level in scores.levels)
        accuracies = ", ".join(f"{level.accuracy or 0:.3f}" for level in scores.levels)
        match = scores.matching
        assert match is not None
        assert match.floor is not None
        assert match.floor_deviation is not None
        deviations = (match.value - match.floor) / match.floor_deviation
        print(f"| {name} | {errors} | {accuracies} | {deviations:+.1f} | {scores.levels[-1].spread:.2f} |", flush=True)


if __name__ == "__main__":
    main()
