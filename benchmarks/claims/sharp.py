"""The refined stack and models without a hierarchy, judged by their samples beside the models of the first tables."""

from __future__ import annotations

import json
import math
import shutil
import statistics
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from claims import flat
from claims.models import DEEP, EXAMPLES, configs
from claims.samples import Judge
from owae import Config, Registry, Stack
from owae.model.inference import evaluating
from owae.run.opened import open_run
from owae.run.train import train
from owae_priors import GaussianMixture
from owae_report.events import draw_samples

REFINED = f"{DEEP}, refined"
FITTED, COMPONENTS = f"{REFINED}, fitted prior", 50  # Gaussians of a mixture in the prior's place
SAMPLES, DRAWS = 1000, 3
BOTTOM, COST = {"kind": "convolutional", "output": "sigmoid"}, {"kind": "l1"}  # as [bottom] has them
_COLUMNS = {
    "frechet": "{:.1f}", "hardened": "{:.1f}", "mmd": "{:.2f}", "sliced": "{:.2f}",
    "roughness": "{:.3f}", "nearest": "{:.2f}", "broken": "{:.3f}",
}  # fmt: skip
_TITLES = ["Fréchet", "hardened", "MMD·10³", "sliced W·10³", "roughness", "nearest", "broken"]

Judged = dict[str, list[dict[str, float]]]


def judged(
    names: Sequence[str], folder_of: Callable[[str, int], Path], seed: int, epochs: int, judge: Judge, registry: Registry
) -> dict[str, dict[str, float]]:
    """Trains what is missing for one seed, and judges the samples of each model.

    Args:
        names: Of the models of the first tables, whose run folders are there.
        folder_of: Gives a model's run folder.
        seed: The seed.
        epochs: Of every first training.
        judge: What samples are compared with.
        registry: The components.
    """
    found = {name: _stack_scores(folder_of(name, seed), judge, registry) for name in names}
    if DEEP in names:
        folder = folder_of(REFINED, seed)
        if not folder.exists():
            shutil.copytree(
                folder_of(DEEP, seed), folder, ignore=shutil.ignore_patterns("*.json.part", "claims.json", "judged*.json")
            )
        sharp = tomllib.loads((EXAMPLES / "mnist_sharp.toml").read_text())
        sharp["refine"].pop("prior_components")  # the true prior first; the fitted one below
        values = {**configs(seed, epochs, 10.0)[DEEP], **{phase: sharp[phase] for phase in ("refine", "bottom")}}
        train(Config.from_dict(values, registry), registry, out=folder, resume=True)
        found[REFINED] = _stack_scores(folder, judge, registry)
        found[FITTED] = _stack_scores(folder, judge, registry, fitted=True)
    training = configs(seed, epochs, 10.0)[DEEP]["train"]
    for name, values in flat.configs(BOTTOM, COST, training).items():
        folder = folder_of(name, seed)
        run = train(Config.from_dict(values, registry), registry, out=folder, resume=folder.exists())
        model = flat.flat(name, run.model, judge.train, seed)
        found[name] = _saved(folder, lambda draw, model=model: model.sample(SAMPLES, draw), judge)
    return found


def _stack_scores(folder: Path, judge: Judge, registry: Registry, *, fitted: bool = False) -> dict[str, float]:
    stack = open_run(folder, registry).model
    stack = _with_fitted_prior(stack, judge.train) if fitted else stack
    return _saved(folder, lambda draw: draw_samples(stack, SAMPLES, draw), judge, "judged-fitted.json" if fitted else "judged.json")


def _with_fitted_prior(stack: Stack, data: Tensor) -> Stack:
    """Returns the same levels under a mixture of Gaussians that is fitted to the deepest codes of the training examples."""
    prior = GaussianMixture(stack.prior.shape, components=COMPONENTS, learn=False)
    with evaluating(stack, 0):
        prior.fit(stack.encode(data, sample=True)[-1])
    weights = [1.0] * stack.depth
    return Stack(stack.levels, divergence=stack.divergence, weights=weights, prior=prior).eval()  # pyright: ignore[reportArgumentType] # ModuleList forgets its item type


def _saved(folder: Path, sample: Callable[[int], Tensor], judge: Judge, file: str = "judged.json") -> dict[str, float]:
    """Judges draws of samples and keeps the means of the scores, and Fréchet's deviation over draws, beside the run."""
    path = folder / file
    if not path.exists():
        scores = [judge.judged(sample(draw)) for draw in range(DRAWS)]
        means = {key: statistics.fmean(each[key] for each in scores) for key in scores[0]}
        means["frechet deviation"] = statistics.stdev(each["frechet"] for each in scores)
        path.write_text(json.dumps(means, indent=2))
    return json.loads(path.read_text())


def print_judged(results: Mapping[str, Sequence[Mapping[str, float]]], floor: Mapping[str, float]) -> None:
    """Prints both tables, plain and at matched roughness, and the paired differences from the refined stack."""
    for prefix, title in (("", "As they are"), ("matched ", "At matched roughness")):
        print(f"\n**{title}**\n\n| model | {' | '.join(_TITLES)} |\n|{'---|' * (len(_TITLES) + 1)}")
        print(f"| training digits (the floor) | {' | '.join(form.format(floor[key]) for key, form in _COLUMNS.items())} |")
        for name, runs in results.items():
            cells = [_cell([run[prefix + key] for run in runs], form) for key, form in _COLUMNS.items()]
            print(f"| {name} | {' | '.join(cells)} |")
    if REFINED not in results:
        return
    print(
        "\n**Paired differences from the refined stack** (other − refined over the seeds, ± standard error; above 0 refinement wins)\n"
    )
    shown = ("frechet", "matched frechet", "matched hardened", "matched mmd", "matched sliced")
    print(f"| model | {' | '.join(shown)} |\n|{'---|' * (len(shown) + 1)}")
    for name, runs in results.items():
        if name != REFINED:
            print(f"| {name} | {' | '.join(_difference(runs, results[REFINED], key) for key in shown)} |")


def _difference(runs: Sequence[Mapping[str, float]], refined: Sequence[Mapping[str, float]], key: str) -> str:
    apart = [a[key] - b[key] for a, b in zip(runs, refined, strict=False)]
    error = f" ± {statistics.stdev(apart) / math.sqrt(len(apart)):.2f}" if len(apart) > 1 else ""
    return f"{statistics.fmean(apart):+.2f}{error}"


def _cell(values: Sequence[float], form: str) -> str:
    mean = form.format(statistics.fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {form.format(statistics.stdev(values))}"
