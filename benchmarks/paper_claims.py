"""The paper's claims, measured on 5,000 real MNIST digits: the same networks, data and budget under each objective.

StackedWAE as printed (costs in the latents, without and with the log-variance penalty) and with costs in data space, the plain
WAE of Eq. 8 over the same hierarchy, and the Markov hierarchical VAE; then, by their samples alone, the stack in data space refined
and models without a hierarchy, whose bottom decoder is that of [bottom]. Each model and seed is trained into a run folder, which is taken
up again if it is there. The tables show means ± standard deviations over the seeds; the first ones end with one sentence a claim.

    python benchmarks/paper_claims.py [--epochs 120] [--seeds 0 1 2] [--out runs/claims]
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from claims.judge import judge
from claims.measures import codes_of, grid_classes, linear_probe, share_of_deepest
from claims.models import WAE, configs
from claims.quality import Classifier, accuracy, frechet, pixel_mmd, pixel_sliced, train_classifier
from claims.refit import with_fitted_encoders
from claims.samples import Judge
from claims.sharp import judged, print_judged
from claims.tables import print_tables
from torch import Tensor

from owae import Config, Registry, Stack
from owae.data.sources import examples
from owae.interfaces import DataSource
from owae.model.inference import evaluating
from owae.run.train import train
from owae_report.evaluation.look import roughness
from owae_report.evaluation.scores import evaluate
from owae_report.events import draw_samples
from owae_report.figure_data import FigureData, Options
from owae_report.figures import draw
from owae_report.pixels import write

SAMPLES = 1000


@dataclass(frozen=True)
class Digits:
    """The data, and the classifier that was trained on the training part."""

    train: DataSource
    test: DataSource
    x: Tensor
    held_out: Tensor
    classify: Classifier


def measured(stack: Stack, digits: Digits) -> dict[str, Any]:
    """Everything that is measured of a model; lists go from z_1 to z_N."""
    scores = evaluate(stack, digits.train, digits.test)
    labels, test_labels = digits.train.labels, digits.test.labels
    assert labels is not None
    assert test_labels is not None
    codes, test_codes = codes_of(stack, digits.x), codes_of(stack, digits.held_out)
    probes = [linear_probe(a, labels, b, test_labels) for a, b in zip(codes, test_codes, strict=True)]
    samples = draw_samples(stack, SAMPLES)
    with evaluating(stack):
        rough = [roughness(stack.reconstruct(digits.held_out, level)) for level in range(1, stack.depth + 1)]
    shown, sure = grid_classes(stack, digits.classify)
    matching = scores.matching
    assert matching is not None
    floor, deviation = matching.floor, matching.floor_deviation
    deviations = (matching.value - floor) / deviation if floor is not None and deviation else None
    return {
        "error": [level.error for level in scores.levels],
        "neighbours": [level.accuracy for level in scores.levels],
        "probe": probes,
        "variance": [level.variance for level in scores.levels],
        "spread": [level.spread for level in scores.levels],
        "roughness": rough,
        "share": share_of_deepest(stack),
        "grid digits": shown,
        "grid sure": sure,
        "frechet": frechet(digits.classify, samples, digits.held_out),
        "pixel mmd": pixel_mmd(samples, digits.held_out),
        "pixel sliced": pixel_sliced(samples, digits.held_out),
        "matched level": matching.level,
        "match": matching.value,
        "match in deviations": deviations,
    }


def run(name: str, values: dict[str, Any], digits: Digits, registry: Registry, folder: Path) -> dict[str, Any]:
    """Train one model, or take it up again, and measure it."""
    config = Config.from_dict(values, registry)
    started = time.perf_counter()
    trained = train(config, registry, out=folder, resume=folder.exists())
    seconds = time.perf_counter() - started
    saved = folder / "claims.json"
    if saved.exists():
        return json.loads(saved.read_text())
    stack = trained.model
    result = measured(stack, digits) | {"seconds": seconds}
    if name == WAE:
        refit = with_fitted_encoders(stack, digits.train, config.train.epochs // 2, config.train.seed)
        result["refitted"] = measured(refit, digits)
    (grid,) = draw("latent-grid", [FigureData(trained, Options())])
    write(folder / "grid.png", grid)
    saved.write_text(json.dumps(result, indent=2))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/claims"))
    parser.add_argument("--models", nargs="+", help="only these (by the beginning of their names)")
    parser.add_argument("--wae-match", type=float, default=10.0, help="the weight of the divergence in Eq. 8")
    arguments = parser.parse_args()
    logging.getLogger("owae").setLevel(logging.ERROR)
    started = time.perf_counter()
    registry = Registry.discover()
    train_set, test_set = (registry.create("data", "mnist-5k", split) for split in ("train", "test"))
    x, held_out = examples(train_set), examples(test_set)
    classify = train_classifier(x, train_set.labels)
    digits = Digits(train_set, test_set, x, held_out, classify)
    floor = {
        "classifier": accuracy(classify, held_out, test_set.labels),
        "frechet": frechet(classify, x[torch.arange(0, 4000, 4)], held_out),
        "pixel mmd": pixel_mmd(x[torch.arange(0, 4000, 4)], held_out),
        "pixel sliced": pixel_sliced(x[torch.arange(0, 4000, 4)], held_out),
        "roughness": roughness(held_out),
    }

    def folder_of(name: str, seed: int) -> Path:
        return arguments.out / f"{''.join(c if c.isalnum() else '-' for c in name.lower()).strip('-')}-{seed}"

    results: dict[str, list[dict[str, Any]]] = {}
    for seed in arguments.seeds:
        for name, values in configs(seed, arguments.epochs, arguments.wae_match).items():
            if arguments.models and not name.startswith(tuple(arguments.models)):
                continue
            results.setdefault(name, []).append(run(name, values, digits, registry, folder_of(name, seed)))
            print(f"{name}, seed {seed}: trained and measured after {time.perf_counter() - started:.0f} s in all", flush=True)
    print_tables(results, floor)
    judge(results, floor)
    by_classifiers, samples = Judge.of(x, train_set.labels, held_out), {}
    for seed in arguments.seeds:
        for name, scores in judged([*results], folder_of, seed, arguments.epochs, by_classifiers, registry).items():
            samples.setdefault(name, []).append(scores)
    print_judged(samples, by_classifiers.floor())
    print(f"{time.perf_counter() - started:.0f} s in all, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
