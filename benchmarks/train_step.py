"""One training step of each of the paper's models; an epoch against pythae's trainer; time per level as stacks grow deep.

    python benchmarks/train_step.py                                # all parts, batches that suit a CPU
    python benchmarks/train_step.py --parts models --models mnist,svhn --compile
    python benchmarks/train_step.py --device cuda --full           # the paper's batches; fp32, bf16, compiled; share of the card's peak
    pip install --no-deps pythae; pip install tqdm                 # both for the part `pythae`

models: `owae.training.Fit` against a loop written by hand over the same layers, costs and divergence, which steps in turn with it, and
(`--compile`) against itself compiled. Memory is the peak beyond the imports of a process for each side.
pythae: images per second of its trainer's epoch against ours: one level, equal networks, the same MMD (WAE-MMD, deterministic encoder).
depth: levels of equal width, 2 to 20; lower quartiles of the time, less what a step costs without any, divided by levels.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from train_step_sides import PEAK_TFLOPS, peak_memory, pythae_epoch, pythae_sides

from owae import Config, Registry, Stack, fit
from owae.config.build import build_stack
from owae_layers import MLP
from owae_mmd import MMD

EXAMPLES = Path(__file__).parent.parent / "examples"
# name: (shape, range, rows a step on a CPU)
MODELS: dict[str, tuple[tuple[int, ...], tuple[float, float], int]] = {
    "mnist": ((1, 28, 28), (0.0, 1.0), 128),
    "mnist_wae": ((1, 28, 28), (0.0, 1.0), 128),
    "mnist_hvae": ((1, 28, 28), (0.0, 1.0), 128),
    "svhn": ((3, 32, 32), (0.0, 1.0), 8),
    "celeba": ((3, 64, 64), (-1.0, 1.0), 4),
}
DEPTHS = (2, 5, 10, 20)


def model(name: str, full: bool) -> tuple[Stack, Tensor, dict[str, Any]]:
    """A paper model, one batch for it, and its optimiser."""
    shape, (low, high), rows = MODELS[name]
    registry = Registry.discover()
    config = Config.load(EXAMPLES / f"{name}.toml", registry)
    rows = config.train.batch_size if full else rows
    x = torch.rand(rows, *shape, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    return build_stack(config, registry, shape, (low, high)), x, config.train.optimizer


def with_owae(name: str, full: bool, device: str, steps: int, **options: Any) -> Iterator[None]:
    stack, x, optimizer = model(name, full)
    for _ in fit(stack, x.to(device), epochs=steps, batch_size=len(x), optimizer=optimizer, device=device, **options):
        yield


def by_hand(name: str, full: bool, device: str, steps: int) -> Iterator[None]:
    """Eq. 14 and 17 in line over the same layers, costs and divergence: no guards, no record, no loader."""
    stack, x, optimizer = model(name, full)
    stack, x = stack.to(device), x.to(device)
    arguments = {key: value for key, value in optimizer.items() if key != "name"}
    optimiser = getattr(torch.optim, optimizer["name"])(stack.parameters(), **{**arguments, "fused": True, "foreach": None})
    levels: list[Any] = list(stack.levels)[: stack.matched_level]
    for _ in range(steps):
        z, loss = x, torch.zeros((), device=device)
        for level, weight in zip(levels, stack.weights, strict=False):
            q = level.layer.encode(z)
            code = q.rsample()
            loss = loss + weight * level.cost.expected(z, level.layer.decode(code)).mean()
            if level.penalty_weight:
                loss = loss + level.penalty_weight * level.regulariser(q).mean()
            z = code
        loss = loss + stack.weights[-1] * stack.divergence.to_prior(z, stack.matched_prior)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        yield


def turns(sides: dict[str, Iterator[Any]], steps: int, device: str, warm: int = 2) -> dict[str, list[float]]:
    """Seconds a step by side; sides step in turn, each first as often as the other."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for step in range(steps + warm):
        for name in sorted(sides, reverse=step % 2 == 1):
            begun = time.perf_counter()
            next(sides[name])
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if step >= warm:
                times[name].append(time.perf_counter() - begun)
    return times


def part_models(console: Console, options: argparse.Namespace) -> None:
    table = Table(title=f"One training step on {options.device}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for column in ("model", "rows", "how", "ms", "images/s", "against by hand", "peak MB", "share of peak"):
        table.add_column(column, justify="left" if column in ("model", "how") else "right")
    ratios = []
    cuda = options.device.startswith("cuda")
    for name in options.models.split(","):
        if not (EXAMPLES / f"{name}.toml").exists():
            print(f"examples/{name}.toml is not there, so its rows are left out", file=sys.stderr)
            continue
        ways: dict[str, dict[str, Any]] = {"owae": {"compile": False}}
        if options.compile or cuda:
            ways["owae, compiled"] = {"compile": True}
        if cuda:
            ways |= {"owae, bf16": {"compile": False, "precision": "bf16-mixed"}}
            ways |= {"owae, bf16, compiled": {"compile": True, "precision": "bf16-mixed"}}
        warm = 3
        made: dict[str, Callable[[int], Iterator[None]]] = {
            way: functools.partial(_ours, name, options.full, options.device, chosen) for way, chosen in ways.items()
        }
        made["by hand"] = functools.partial(by_hand, name, options.full, options.device)
        total = options.steps + warm
        times = turns({way: make(total) for way, make in made.items()}, options.steps, options.device, warm)
        rows = len(model(name, options.full)[1])
        flops = _flops(name, options.full) if cuda else 0
        for way, taken in times.items():
            ratio = statistics.median(a / b for a, b in zip(taken, times["by hand"], strict=True))
            seconds = statistics.median(taken)
            memory = "" if options.no_memory else f"{peak_memory(made[way], options.device):,.0f}"
            peak = (
                PEAK_TFLOPS.get(torch.cuda.get_device_name().split()[1], {}).get("bf16" if "bf16" in way else "fp32")
                if cuda
                else None
            )
            share = f"{100 * flops / seconds / peak / 1e12:.1f}%" if peak else ""
            table.add_row(name, str(rows), way, f"{1e3 * seconds:.1f}", f"{rows / seconds:,.0f}", f"{ratio:.3f}", memory, share)
            if way == "owae":
                ratios.append(ratio)
    console.print(table)
    if ratios:
        console.print(f"owae / by hand over the same layers: {min(ratios):.3f} to {max(ratios):.3f}.")


def _ours(name: str, full: bool, device: str, chosen: dict[str, Any], steps: int) -> Iterator[None]:
    return with_owae(name, full, device, steps, **chosen)


def _flops(name: str, full: bool) -> int:
    """Floating-point operations of the matrix products and convolutions of one step, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    stack, x, _ = model(name, full)
    with FlopCounterMode(display=False) as counter:
        stack(x).loss.backward()
    return counter.get_total_flops()


def part_pythae(console: Console, options: argparse.Namespace) -> None:
    images = torch.rand(options.examples, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    table = Table(title=f"One level, WAE-MMD, {len(images):,} images of 28×28, batch 128, epochs in turn")
    for column in ("whose", "images/s"):
        table.add_column(column, justify="left" if column == "whose" else "right")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        try:
            sides = pythae_sides(images, options.device, folder)
        except ImportError as error:
            print(f"{error} (pip install --no-deps pythae; pip install tqdm), so this part is left out", file=sys.stderr)
            return
        times: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(options.rounds + 1):
            for name, epoch in sides.items():
                seconds = pythae_epoch(epoch, options.device)
                if number:
                    times[name].append(seconds)
    for name, taken in times.items():
        table.add_row(name, f"{len(images) / statistics.median(taken):,.0f}")
    ratio = statistics.median(a / b for a, b in zip(times["pythae"], times["owae"], strict=True))
    console.print(table)
    console.print(f"owae / pythae in images/s: {ratio:.2f}×; {'within' if ratio >= 1.3 else 'below'} the target of 1.3×.")


def part_depth(console: Console, options: argparse.Namespace) -> None:
    """Levels alike: 64 → 64 with hidden layers of one width, so that only their number differs."""
    width, rows = options.width, 128
    x = torch.rand(rows, 64, device=options.device)

    def deep(depth: int) -> Iterator[Any]:
        stack = Stack([MLP((64,), latent=64, hidden=[width, width]) for _ in range(depth)], divergence=MMD(), weights=[0.5] * depth)
        return iter(fit(stack, x, epochs=10**6, batch_size=rows, device=options.device, compile=False))

    times = turns({f"{depth:02d}": deep(depth) for depth in DEPTHS}, options.steps, options.device)
    seconds = {int(name): statistics.quantiles(taken, n=4)[0] for name, taken in times.items()}
    # What a step costs without levels (the divergence, the loop) is the intercept of the line of least relative squares.
    weights = {depth: taken**-2 for depth, taken in seconds.items()}
    total = sum(weights.values())
    mean_d = sum(w * depth for depth, w in weights.items()) / total
    mean_s = sum(w * seconds[depth] for depth, w in weights.items()) / total
    slope = sum(w * (d - mean_d) * (seconds[d] - mean_s) for d, w in weights.items())
    slope /= sum(w * (d - mean_d) ** 2 for d, w in weights.items())
    fixed = max(0.0, mean_s - slope * mean_d)
    table = Table(title=f"Levels 64 → 64, hidden {width}-{width}, batch {rows}; {1e3 * fixed:.1f} ms a step are no level's")
    for column in ("levels", "ms a step", "ms a level"):
        table.add_column(column, justify="right")
    per_level = {depth: (taken - fixed) / depth for depth, taken in seconds.items()}
    for depth, taken in seconds.items():
        table.add_row(str(depth), f"{1e3 * taken:.1f}", f"{1e3 * per_level[depth]:.2f}")
    console.print(table)
    off = max(abs(each / slope - 1) for each in per_level.values())
    console.print(
        f"Time a level is off the common one by up to {100 * off:.0f}%; {'within' if off <= 0.1 else 'above'} the target of 10%."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="models,pythae,depth")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="the configs' batch sizes")
    parser.add_argument("--compile", action="store_true", help="on a CPU too: waits of minutes")
    parser.add_argument("--no-memory", action="store_true", help="leave the processes that measure memory out")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each side of the part `pythae`")
    parser.add_argument("--examples", type=int, default=60_000, help="of the part `pythae`")
    parser.add_argument("--width", type=int, default=512, help="of the part `depth`")
    options = parser.parse_args()
    console = Console(width=120)
    warnings.filterwarnings("ignore")  # of other libraries
    parts = {"models": part_models, "pythae": part_pythae, "depth": part_depth}
    for part in options.parts.split(","):
        parts[part](console, options)


if __name__ == "__main__":
    main()
