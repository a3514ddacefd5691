"""What a training of the paper's ten-level CelebA stack should cost on 1, 8 and 64 GPUs: a model, not a measurement.

Counted, from the config: floating-point operations of a step an image (a multiply-add counts as two), parameters, messages between
processes. Assumed: everything in `Machine`. The two give a time a step; `docs/scaling.md` has the result and says what it leaves out.

    python benchmarks/cost_model.py [--config examples/celeba.toml] [--per-device 64]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from owae import Config, Registry
from owae.config.build import build_stack
from owae.model.stack import Stack

CONFIG = Path(__file__).parent.parent / "examples" / "celeba.toml"
SHAPE, RANGE = (3, 64, 64), (-1.0, 1.0)
IMAGES = 202_599
ROWS = 2


@dataclass(frozen=True)
class Machine:
    """What is assumed of a GPU and of what joins them.

    Attributes:
        rate: Operations a second that convolutions of these sizes reach: a share of the peak.
        kernel: Seconds that one kernel costs at least, its launch from Python included.
        kernels: Kernels of one convolution with its norm and activation, forward and backward together.
        bandwidth: Bytes a second out of a GPU, within a machine of eight and between machines.
        message: Seconds that a small message takes, likewise.
    """

    rate: float
    kernel: float = 6e-6
    kernels: int = 14
    bandwidth: tuple[float, float] = (300e9, 40e9)
    message: tuple[float, float] = (30e-6, 60e-6)


# An H100's data sheet (SXM, dense): 67 TFLOP/s in fp32, 989 in bf16. Narrow convolutions (64 channels) reach a part of it.
MACHINES = {"fp32": Machine(0.5 * 67e12), "bf16-mixed": Machine(0.2 * 989e12)}


@dataclass(frozen=True)
class Counts:
    """What a config decides.

    Attributes:
        forward: Operations an image, encoders and decoders once each.
        step: The same with the backward pass.
        parameters: Numbers that are averaged over processes.
        convolutions: Convolutions that a step runs.
        norms: Batch norms that a step runs.
        saved: Bytes an image kept for the backward pass, in float32.
        dimension: Of the level that is matched.
    """

    forward: float
    step: float
    parameters: int
    convolutions: int
    norms: int
    saved: float
    dimension: int


def counted(stack: Stack) -> Counts:
    """Count a stack by running its networks on torch's meta device, which computes shapes and no numbers."""
    stack = stack.to("meta").train()
    forward = step = saved = 0.0
    for i, layer in enumerate(stack.layers):
        x = torch.zeros(ROWS, *layer.in_shape, device="meta", requires_grad=i > 0)  # no gradient is asked for at the data
        z = torch.zeros(ROWS, *layer.latent_shape, device="meta", requires_grad=True)
        sizes: list[int] = []
        with FlopCounterMode(display=False) as counter:
            with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.nbytes) or t, lambda t: t):
                q, p = layer.encode(x), layer.decode(z)
            forward += counter.get_total_flops() / ROWS
            (q.mean.sum() + q.variance.sum() + p.mean.sum() + p.variance.sum()).backward()
            step += counter.get_total_flops() / ROWS
        saved += sum(sizes) / ROWS
    modules = list(stack.modules())
    return Counts(
        forward,
        step,
        sum(p.numel() for p in stack.parameters()),
        sum(isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) for module in modules),
        sum(isinstance(module, _BatchNorm) for module in modules),
        saved,
        math.prod(stack.layers[stack.matched_level - 1].latent_shape),
    )


def parts(counts: Counts, machine: Machine, devices: int, rows: int) -> dict[str, float]:
    """Seconds of a step by what they go to, for so many rows a device."""
    far = devices > 8
    messages = 2 * counts.norms + 5 if devices > 1 else 0  # two a norm; codes and costs both ways, and one word on signals
    pairs = 3 * (rows * devices) ** 2
    return {
        "networks": max(rows * counts.step / machine.rate, counts.convolutions * machine.kernels * machine.kernel),
        "divergence": 3 * 2 * pairs * counts.dimension / MACHINES["fp32"].rate,  # float32 whatever the networks run in
        "gradients": 2 * (devices - 1) / devices * 4 * counts.parameters / machine.bandwidth[far],
        "messages": messages * machine.message[far],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--per-device", type=int, default=64)
    arguments = parser.parse_args()
    registry = Registry.discover()
    counts = counted(build_stack(Config.load(arguments.config, registry), registry, SHAPE, RANGE))
    console = Console(highlight=False)
    console.print(
        f"an image: {counts.forward / 1e9:.2f} GFLOP forward, {counts.step / 1e9:.2f} a step; {counts.saved / 1e6:.0f} MB kept\n"
        f"{counts.parameters:,} parameters ({4 * counts.parameters / 1e6:.1f} MB), {counts.convolutions} convolutions, "
        f"{counts.norms} batch norms"
    )
    table = Table(
        "precision",
        "GPUs",
        "global batch",
        "networks, ms",
        "divergence",
        "gradients",
        "messages",
        "step, ms",
        "images/s",
        "100 epochs, h",
    )
    for name, machine in MACHINES.items():
        for devices in (1, 8, 64):
            times = parts(counts, machine, devices, arguments.per_device)
            whole, batch = sum(times.values()), arguments.per_device * devices
            table.add_row(
                name,
                str(devices),
                f"{batch:,}",
                *(f"{1e3 * seconds:.1f}" for seconds in times.values()),
                f"{1e3 * whole:.1f}",
                f"{batch / whole:,.0f}",
                f"{100 * IMAGES / batch * whole / 3600:.2f}",
            )
    console.print(table)


if __name__ == "__main__":
    main()
