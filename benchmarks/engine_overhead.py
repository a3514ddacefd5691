"""What the engine and the training loop cost over a loop written by hand: the paper's MNIST networks, batch 128.

Both sides do the same mathematics (Eq. 14 with the MMD at the top) on equal networks, step in turn, A B B A …, and the ratio is
the median over pairs. Peak memory is measured in a process for each side, beyond its imports. The hand-written side knows no owae:
plain `nn.Sequential`s, costs and kernel in line, one fused Adam.

    python benchmarks/engine_overhead.py [--steps 60] [--small]
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from train_step_sides import peak_memory

from owae import Stack, fit
from owae_layers import MLP
from owae_mmd import MMD

DIMS, WIDTHS = (32, 16, 8, 4, 2), (2048, 1024, 512, 256, 128)
WEIGHTS = [*(0.1**i / d for i, d in enumerate(DIMS[:-1], start=1)), 1e-3]
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def network(*widths: int) -> nn.Sequential:
    hidden = [
        layer for a, b in itertools.pairwise(widths[:-1]) for layer in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(widths[-2], widths[-1]))


def by_hand(x: Tensor, widths: tuple[int, ...], steps: int) -> Iterator[float]:
    """Losses of a hand-written loop, one a step."""
    dims = (x[0].numel(), *DIMS)
    encoders = nn.ModuleList([network(a, w, w, 2 * b) for a, b, w in zip(dims, dims[1:], widths, strict=False)])
    decoders = nn.ModuleList(
        [network(b, w, w, a if i == 0 else 2 * a) for i, (a, b, w) in enumerate(zip(dims, dims[1:], widths, strict=False))]
    )
    optimizer = torch.optim.Adam([*encoders.parameters(), *decoders.parameters()], lr=1e-3, fused=True)
    flat = x.flatten(1)
    constants = torch.tensor([2 * s * DIMS[-1] for s in SCALES])[:, None, None]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T).clamp_min(0)
        return (constants / (constants + squared)).sum(0)

    for _ in range(steps):
        z, loss, weight = flat, torch.zeros(()), 1.0
        for i, (encoder, decoder) in enumerate(zip(encoders, decoders, strict=True)):
            mean, logit = encoder(z).chunk(2, 1)
            code = mean + F.softplus(logit.clamp(-20, 500)).sqrt() * torch.randn_like(mean)
            if i == 0:
                cost = (torch.sigmoid(decoder(code)) - z).square().sum(1).mean()
            else:
                back, variance = decoder(code).chunk(2, 1)
                cost = ((back - z).square() + F.softplus(variance.clamp(-20, 500))).sum(1).mean()
            loss = loss + weight * cost
            z, weight = code, WEIGHTS[i]
        n = len(z)
        p = torch.randn_like(z)
        zz, pp = kernel(z, z), kernel(p, p)
        within = (zz.sum() - zz.diagonal().sum() + pp.sum() - pp.diagonal().sum()) / (n * (n - 1))
        loss = loss + weight * (within - 2 * kernel(z, p).mean())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield loss.item()


def with_owae(x: Tensor, widths: tuple[int, ...], steps: int) -> Iterator[float]:
    layers, shape = [], tuple(x.shape[1:])
    for i, (d, w) in enumerate(zip(DIMS, widths, strict=True)):
        layers.append(MLP(shape, latent=d, hidden=[w, w], output="sigmoid" if i == 0 else "linear"))
        shape = (d,)
    stack = Stack(layers, divergence=MMD(), weights=WEIGHTS)
    for step in fit(stack, x, epochs=steps, batch_size=len(x), device="cpu"):
        yield step.objective.loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--small", action="store_true", help="widths of 32: overhead without the networks' own time")
    options = parser.parse_args()
    widths = (32,) * 5 if options.small else WIDTHS
    x = torch.rand(options.batch, 1, 28, 28)
    warm = 5
    sides: dict[str, Callable] = {"owae": with_owae, "by hand": by_hand}
    running = {name: side(x, widths, options.steps + warm) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, float] = {}
    for step in range(options.steps + warm):
        # In turn, and in turns first, so that neither side always finds the caches of the other.
        for name in sorted(running, reverse=step % 2 == 1):
            begun = time.perf_counter()
            losses[name] = next(running[name])
            if step >= warm:
                times[name].append(time.perf_counter() - begun)
    ratios = [a / b for a, b in zip(times["owae"], times["by hand"], strict=True)]
    # The least of three: what else a process holds varies by some megabytes.
    memory = {name: min(peak_memory(functools.partial(side, x, widths)) for _ in range(3)) for name, side in sides.items()}
    table = Table(
        title=f"One training step, batch {options.batch}, widths {'-'.join(map(str, widths))}, {torch.get_num_threads()} threads"
    )
    for column in ("", "median ms", "fastest ms", "last loss", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    for name, taken in times.items():
        table.add_row(
            name, f"{1e3 * statistics.median(taken):.2f}", f"{1e3 * min(taken):.2f}", f"{losses[name]:.3f}", f"{memory[name]:,.0f}"
        )
    console = Console(width=100)
    console.print(table)
    low, middle, high = statistics.quantiles(ratios, n=4)
    verdict = "within" if middle <= 1.03 else "above"
    console.print(
        f"owae / by hand: {middle:.3f} (quartiles {low:.3f} to {high:.3f}) over {len(ratios)} pairs; {verdict} the target of 1.03."
    )
    ratio = memory["owae"] / memory["by hand"]
    console.print(f"Peak memory, owae / by hand: {ratio:.3f}; {'within' if ratio <= 1.02 else 'above'} the target of 1.02.")


if __name__ == "__main__":
    main()
