"""The divergences' targets, each a ratio measured side by side in one run: forward and backward, 7-scale IMQ unless said.

    python benchmarks/divergence_targets.py [--quick]

Sides step in turn, A B B A …, after a warm-up; a ratio is the median over pairs. Memory is the peak resident set of a process of its own,
over what it held before the call (Linux). `--quick` takes smaller samples, to see that it runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from owae import Divergence, StandardNormal
from owae_mmd import MMD
from owae_sinkhorn import Sinkhorn

Step = Callable[[], object]


def training(divergence: Divergence, n: int, d: int) -> Step:
    """One value and its gradient in the codes, against fresh draws of the prior, as a training step takes it."""
    x, prior = torch.randn(n, d).requires_grad_(), StandardNormal((d,))

    def step() -> object:
        return torch.autograd.grad(divergence.to_prior(x, prior), x)

    return step


def geomloss_itself(n: int, d: int) -> Step:
    from geomloss import SamplesLoss

    loss, x, y = (
        SamplesLoss("sinkhorn", p=2, blur=0.05, backend="tensorized"),
        torch.randn(n, d).requires_grad_(),
        torch.randn(n, d),
    )
    return lambda: torch.autograd.grad(loss(x, y), x)


def sinkhorn(n: int, d: int) -> Step:
    divergence, x, y = Sinkhorn(), torch.randn(n, d).requires_grad_(), torch.randn(n, d)
    return lambda: torch.autograd.grad(divergence(x, y), x)


def ratio(slow: Step, fast: Step, pairs: int) -> tuple[float, float, float]:
    """Medians of both in milliseconds, and of the ratio slow / fast over pairs."""
    first = time.perf_counter()
    for side in (slow, fast):
        side()
        side()
    print(f"  warm after {time.perf_counter() - first:.1f} s", file=sys.stderr)
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(pairs):
        for which in (0, 1) if i % 2 else (1, 0):
            begun = time.perf_counter()
            (slow, fast)[which]()
            times[which].append(time.perf_counter() - begun)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    return 1e3 * statistics.median(times[0]), 1e3 * statistics.median(times[1]), statistics.median(ratios)


def first_call(n: int, d: int) -> float:
    """Seconds of the first value and gradient in a new process, imports left out."""
    code = f"""
import time, torch
from owae import StandardNormal
from owae_mmd import MMD
x = torch.randn({n}, {d}).requires_grad_()
begun = time.perf_counter()
MMD().to_prior(x, StandardNormal(({d},))).backward()
print(time.perf_counter() - begun)
"""
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def peak_memory(n: int, d: int) -> tuple[float, float]:
    """Growth of the peak resident set in MB, and seconds, of one value and gradient at n points in a new process."""
    code = f"""
import pathlib, time, torch
from owae import StandardNormal
from owae_mmd import MMD
divergence, prior = MMD(), StandardNormal(({d},))
divergence.to_prior(torch.randn(9000, {d}).requires_grad_(), prior).backward()
x = torch.randn({n}, {d}).requires_grad_()
def status(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the compiler's own peak is forgotten
before, begun = status("VmRSS"), time.perf_counter()
divergence.to_prior(x, prior).backward()
print(status("VmHWM") - before, time.perf_counter() - begun)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, seconds = map(float, done.stdout.split())
    return grown, seconds


def spread(estimator: Any, n: int, d: int, repeats: int = 300) -> float:
    torch.manual_seed(0)
    prior, divergence = StandardNormal((d,)), MMD(estimator=estimator)
    return statistics.stdev(divergence.to_prior(torch.randn(n, d), prior).item() for _ in range(repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore")  # the compiler's remarks about itself
    n, many, pairs = (600, 10_000, 3) if quick else (5000, 100_000, 7)
    torch.manual_seed(0)
    table = Table(title=f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in ("what", "reference", "ours", "result", "target", "met"):
        table.add_column(name, justify="left" if name == "what" else "right")
    missed = []

    def row(what: str, reference: str, ours: str, result: str, target: str, met: bool) -> None:
        table.add_row(what, reference, ours, result, target, "yes" if met else "no")
        if not met:
            missed.append(what)

    def compare(what: str, slow: Step, fast: Step, target: float, repeats: int) -> None:
        print(what, file=sys.stderr)
        a, b, found = ratio(slow, fast, repeats)
        row(what, f"{a:,.2f} ms", f"{b:,.2f} ms", f"{found:.1f}× faster", f"≥ {target:g}×", found >= target)

    dense = MMD(backend="dense")
    compare(f"auto against eager dense, n = {n:,}, d = 32", training(dense, n, 32), training(MMD(), n, 32), 25, pairs)
    closed = training(MMD(estimator="closed-form"), n, 32)
    compare(f"closed form against eager dense, n = {n:,}, d = 32", training(dense, n, 32), closed, 60, pairs)
    compare("auto against eager dense, n = 128, d = 2", training(dense, 128, 2), training(MMD(), 128, 2), 3, 40 * pairs)
    wait = first_call(128, 2)
    row("first call of auto, n = 128, d = 2", "", f"{wait:.2f} s", f"{wait:.2f} s", "≤ 20 s", wait <= 20)
    print(f"n = {many:,}", file=sys.stderr)
    grown, seconds = peak_memory(many, 32)
    row(f"auto, n = {many:,}, d = 32", "", f"{seconds:.1f} s", f"{grown:.0f} MB", "< 200 MB", grown < 200)
    size = 200 if quick else 1000
    a, b, found = ratio(geomloss_itself(size, 32), sinkhorn(size, 32), 3 * pairs)
    row(
        f"Sinkhorn against geomloss itself, n = {size:,}, d = 32",
        f"{a:,.1f} ms",
        f"{b:,.1f} ms",
        f"{1 / found:.3f}×",
        "≤ 1.05×",
        1 / found <= 1.05,
    )
    for d in (2, 32):
        sampled, computed = spread("unbiased", 128, d), spread("closed-form", 128, d)
        row(
            f"s.d. of closed form against sampled, n = 128, d = {d}",
            f"{sampled:.2g}",
            f"{computed:.2g}",
            f"{computed / sampled:.2f}",
            "< 1",
            computed < sampled,
        )
    console = Console(width=150)
    console.print(table)
    console.print("Every target is met." if not missed else f"Missed: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()
