"""Our divergences beside other libraries' on the same tensors, forward and backward, in one run.

    pip install POT; pip install --no-deps pythae   # optional; what is absent is named and left out
    python benchmarks/divergence_peers.py [--sizes 128,1024] [--dim 32]

The sides of one quantity compute it up to a convention (given in the last column), so times compare and values need not. Rounds go
through all sides in turn; times are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from owae_mmd import MMD
from owae_sinkhorn import Sinkhorn
from owae_transport import SlicedWasserstein

Loss = Callable[[Tensor, Tensor], Tensor]
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MOST_EXACT = 1024  # samples beyond which exact transport is left out


def naive_mmd(x: Tensor, y: Tensor) -> Tensor:
    """As such losses are commonly written: three matrices, a loop over scales, diagonals masked out."""
    n, m, d = len(x), len(y), x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = (a[:, None, :] - b[None, :, :]).square().sum(2) if len(a) * len(b) * d < 2e8 else torch.cdist(a, b).square()
        return sum((2 * s * d / (2 * s * d + squared) for s in SCALES), torch.zeros_like(squared))

    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def pythae_mmd(d: int) -> Loss:
    """The divergence of pythae's WAE-MMD: the same kernel and estimator as ours. Raises ImportError."""
    from pythae.models import WAE_MMD, WAE_MMD_Config  # pyright: ignore[reportMissingImports] # an optional peer

    config = WAE_MMD_Config(input_dim=(1, d), latent_dim=d, kernel_choice="imq", scales=list(SCALES))
    model, nothing = WAE_MMD(config), torch.zeros(1, d)
    return lambda x, y: model.loss_function(nothing, nothing, x, y)[2]


def peers(n: int, d: int) -> dict[str, list[tuple[str, Loss, str]]]:
    """By quantity: (whose, loss, convention), ours first."""
    found: dict[str, list[tuple[str, Loss, str]]] = {
        "MMD, imq": [("owae mmd", MMD(), "7 scales, unbiased"), ("naive torch", naive_mmd, "7 scales, unbiased")],
        "MMD, gaussian": [("owae mmd gaussian", MMD(kernel="gaussian", scales=[1.0], estimator="biased"), "1 scale, biased")],
        "MMD, energy": [("owae mmd energy", MMD(kernel="energy", estimator="biased"), "biased")],
        "MMD, laplacian": [("owae mmd laplacian", MMD(kernel="laplacian", scales=[1.0], estimator="biased"), "1 scale, biased")],
        "Sinkhorn divergence": [("owae sinkhorn", Sinkhorn(), "W₂², blur .05")],
        "sliced Wasserstein": [("owae sliced-wasserstein", SlicedWasserstein(), "its default number of lines")],
    }
    with contextlib.suppress(ImportError), contextlib.redirect_stdout(sys.stderr):
        from geomloss import SamplesLoss

        gaussian, energy = SamplesLoss("gaussian", blur=1.0, backend="tensorized"), SamplesLoss("energy", backend="tensorized")
        found["MMD, gaussian"].append(("geomloss gaussian", gaussian, "½ MMD², blur 1"))
        found["MMD, energy"].append(("geomloss energy", energy, "½ of the distance"))
        laplacian = SamplesLoss("laplacian", blur=1.0, backend="tensorized")
        found["MMD, laplacian"].append(("geomloss laplacian", laplacian, "½ MMD², blur 1"))
        sinkhorn = SamplesLoss("sinkhorn", p=2, blur=0.05, backend="tensorized")
        found["Sinkhorn divergence"].append(("geomloss sinkhorn", sinkhorn, "½ W₂², blur .05"))
    try:
        found["MMD, imq"].append(("pythae WAE_MMD", pythae_mmd(d), "7 scales, unbiased"))
    except ImportError:
        print("pythae is not installed (pip install --no-deps pythae), so its row is left out", file=sys.stderr)
    try:
        ot: Any = importlib.import_module("ot")

        found["sliced Wasserstein"].append(
            ("POT sliced", lambda x, y: ot.sliced_wasserstein_distance(x, y, n_projections=50), "rooted, 50 lines")
        )
        if n <= MOST_EXACT:
            found["exact W₂²"] = [
                ("POT emd2", lambda x, y: ot.emd2(x.new_ones(len(x)) / len(x), y.new_ones(len(y)) / len(y), ot.dist(x, y)), "exact")
            ]
    except ImportError:
        print("POT is not installed (pip install POT), so its rows are left out", file=sys.stderr)
    return found


def step(loss: Loss, x: Tensor, y: Tensor) -> float:
    value = loss(x, y)
    torch.autograd.grad(value, x)
    return float(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="128,1024")
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    table = Table(title=f"d = {options.dim}, torch {torch.__version__}, {torch.get_num_threads()} threads, forward and backward")
    for name in ("quantity", "n", "whose", "ms", "against ours", "value", "convention"):
        table.add_column(name, justify="right" if name in ("n", "ms", "against ours", "value") else "left")
    faster = compared = 0
    for n in map(int, options.sizes.split(",")):
        torch.manual_seed(0)
        x, y = (torch.randn(n, options.dim) + 0.3).requires_grad_(), torch.randn(n, options.dim)
        for quantity, sides in peers(n, options.dim).items():
            times: dict[str, list[float]] = {whose: [] for whose, _, _ in sides}
            values = {whose: step(loss, x, y) for whose, loss, _ in sides}
            for _ in range(options.rounds):
                for whose, loss, _ in sides:
                    begun = time.perf_counter()
                    step(loss, x, y)
                    times[whose].append(time.perf_counter() - begun)
            ours = times[sides[0][0]]
            for whose, _, convention in sides:
                ratio = statistics.median(a / b for a, b in zip(times[whose], ours, strict=True))
                table.add_row(
                    quantity,
                    f"{n:,}",
                    whose,
                    f"{1e3 * statistics.median(times[whose]):.2f}",
                    f"{ratio:.2f}×",
                    f"{values[whose]:.4g}",
                    convention,
                )
                if whose != sides[0][0]:
                    compared += 1
                    faster += ratio >= 1
    Console(width=140).print(table)
    print(f"Ours took no longer than the peer in {faster} of {compared} comparisons.")


if __name__ == "__main__":
    main()
