"""Costs in data space on a share of each batch's rows against all rows, at equal processor time: a small stack of ten levels.

The shares are those of `examples/celeba_deep.toml`: a quarter of the rows for z_1 and z_10, an eighth for each level between. Steps of both
kinds are timed first, in turn; the epochs of either then follow from one budget. Errors through each level and 10-NN accuracies are of
held-out digits; the last lines are paired differences over the seeds.

    python benchmarks/claims/rows.py [--seconds 40] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from typing import Any

import torch

from owae import Config, Registry, Stack, fit
from owae.config.build import build_stack
from owae.data.sources import examples
from owae_report.evaluation.scores import evaluate

LATENTS = (48, 40, 32, 24, 20, 16, 12, 8, 4, 2)
SHARES = [0.25, *[0.125] * 8, 0.25]
BATCH, WIDTH, TIMED = 125, 256, 8
ALL, SOME = "all rows", "shares"


def stack_of(shares: list[float] | None, registry: Registry, seed: int) -> Stack:
    """Makes the stack; with shares, costs are measured on those of a batch's rows."""
    levels: list[dict[str, Any]] = []
    for i, latent in enumerate(LATENTS):
        layer: dict[str, Any] = {"kind": "mlp", "latent": latent, "hidden": [WIDTH, WIDTH]}
        rows = {} if shares is None else {"rows": shares[i]}
        levels.append({"layer": layer, "space": "data", "target": "data", **rows})
    levels[0]["layer"]["output"] = "sigmoid"
    weights = {"reconstruction": 0.3, "match": 1.0}
    values = {
        "data": {"kind": "mnist-5k"},
        "levels": levels,
        "divergence": {"kind": "mmd"},
        "weights": weights,
        "train": {"seed": seed},
    }
    return build_stack(Config.from_dict(values, registry), registry, (1, 28, 28), (0.0, 1.0))


def trained(stack: Stack, x: torch.Tensor, epochs: int, seed: int) -> None:
    """Trains a stack with a one-cycle schedule."""
    for _ in fit(
        stack, x, epochs=epochs, batch_size=BATCH, seed=seed, schedule={"name": "OneCycleLR", "max_lr": 3e-3}, device="cpu"
    ):
        pass


def seconds_per_epoch(x: torch.Tensor, registry: Registry) -> dict[str, float]:
    """Times steps of both kinds in turn, by the processor, and returns the medians as seconds an epoch."""
    runs, times = {}, {ALL: [], SOME: []}
    for name in times:
        runs[name] = iter(fit(stack_of(None if name == ALL else SHARES, registry, 0), x, epochs=2, batch_size=BATCH, device="cpu"))
        next(runs[name])
    for _ in range(TIMED):
        for name, run in runs.items():
            begun = time.process_time()
            next(run)
            times[name].append(time.process_time() - begun)
    return {name: statistics.median(each) * math.ceil(len(x) / BATCH) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of the processor, for each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    registry = Registry.discover()
    train, test = (registry.create("data", "mnist-5k", split) for split in ("train", "test"))
    x = examples(train)
    pace = seconds_per_epoch(x, registry)
    epochs = {name: max(1, round(arguments.seconds / each)) for name, each in pace.items()}
    print(f"a step with shares takes {pace[SOME] / pace[ALL]:.2f} of one with all rows; epochs: {epochs}")
    print("| seed | rows | s | squared error through z_1 … z_10 | mean | 10-NN of z_10 |\n|---|---|---|---|---|---|")
    means: dict[str, list[float]] = {ALL: [], SOME: []}
    deepest: dict[str, list[float]] = {ALL: [], SOME: []}
    for seed in arguments.seeds:
        for name in means:
            stack = stack_of(None if name == ALL else SHARES, registry, seed)
            begun = time.process_time()
            trained(stack, x, epochs[name], seed)
            used = time.process_time() - begun
            levels = evaluate(stack, train, test).levels
            errors = [level.error for level in levels]
            means[name].append(statistics.fmean(errors))
            deepest[name].append(errors[-1])
            shown = ", ".join(f"{error:.1f}" for error in errors)
            print(
                f"| {seed} | {name} | {used:.0f} | {shown} | {means[name][-1]:.2f} | {levels[-1].accuracy or 0:.3f} |", flush=True
            )
    for what, values in (("mean error over levels", means), ("error through z_10", deepest)):
        apart = [some - every for some, every in zip(values[SOME], values[ALL], strict=True)]
        error = f" ± {statistics.stdev(apart) / math.sqrt(len(apart)):.2f}" if len(apart) > 1 else ""
        print(f"{what}, shares − all rows: {statistics.fmean(apart):+.2f}{error}")


if __name__ == "__main__":
    main()
