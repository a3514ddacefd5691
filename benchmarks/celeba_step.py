"""One training step of the paper's ten-level CelebA model: its time and the memory that it takes.

The model, optimiser and batch size are `examples/celeba.toml`'s, or another config's, whole; the images are random bytes of the right
shape, for neither time nor memory depends on what they show. A step is all of it: reading the batch, objective, gradients, Adam. The
first step allocates and is not counted. Processor time is that of all threads together: on a machine that others use too, it says more
than the clock. Memory is the largest resident size of this process, or on a GPU what torch reserved.

With `--against` another config, both are measured in turn, each time in a process of its own, and the ratios of the medians are printed.

    python benchmarks/celeba_step.py [--steps 3] [--batch-size 64] [--device cpu] [--config examples/celeba_deep.toml]
    python benchmarks/celeba_step.py --config examples/celeba_deep.toml --against examples/celeba.toml
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from owae import Config, Registry, fit
from owae.config.build import build_stack
from owae.data.sources import TensorSource

CONFIG = Path(__file__).parent.parent / "examples" / "celeba.toml"
SHAPE, RANGE = (3, 64, 64), (-1.0, 1.0)
WARM = 1
TURNS = 2  # that each of two configs has
GB = 1e9


def resident() -> float:
    """The largest resident size of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes elsewhere
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GB


def compare(config: Path, against: Path, arguments: argparse.Namespace) -> None:
    """Measures two configs in turn, each time in a process of its own, and prints the ratios of their medians."""
    options = ["--steps", str(arguments.steps), "--batch-size", str(arguments.batch_size), "--device", arguments.device, "--json"]
    found: dict[Path, list[dict[str, float]]] = {config: [], against: []}
    for _ in range(TURNS):
        for each, results in found.items():
            command = [sys.executable, __file__, "--config", str(each), *options]
            results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    for key in found[config][0]:
        one, other = (statistics.median(result[key] for result in results) for results in found.values())
        print(f"{key}: {config.name} {one:.2f}, {against.name} {other:.2f}, ratio {one / other:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="steps to measure, after the first")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--config", type=Path, default=CONFIG, help="a config of such images, as examples/celeba_deep.toml")
    parser.add_argument("--against", type=Path, help="another config, to compare with")
    parser.add_argument("--json", action="store_true", help="print three numbers alone")
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error(f"argument --steps: found {arguments.steps}; at least 1 must be measured")

    if arguments.against is not None:
        compare(arguments.config, arguments.against, arguments)
        return
    registry = Registry.discover()
    config = Config.load(arguments.config, registry, [f"train.batch_size={arguments.batch_size}"])
    stack = build_stack(config, registry, SHAPE, RANGE)
    parameters = sum(parameter.numel() for parameter in stack.parameters())
    torch.manual_seed(0)
    images = torch.randint(256, (arguments.batch_size, *SHAPE), dtype=torch.uint8)
    before = resident()
    steps = fit(
        stack,
        TensorSource(images, None, RANGE),
        epochs=WARM + arguments.steps,
        batch_size=arguments.batch_size,
        optimizer=config.train.optimizer,
        device=arguments.device,
    )
    on_gpu = steps.device.type == "cuda"
    times, losses, processor, begun = [], [], [], time.perf_counter()
    used = time.process_time()
    for step in steps:
        losses.append(step.objective.loss.item())  # waits for the device
        times.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
        begun, used = time.perf_counter(), time.process_time()
    measured = times[WARM:]
    peak = torch.cuda.max_memory_reserved(steps.device) / GB if on_gpu else resident()
    device = torch.cuda.get_device_name(steps.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"

    if arguments.json:
        numbers = {"clock, s": statistics.median(measured), "processor, s": statistics.median(processor[WARM:]), "peak, GB": peak}
        print(json.dumps(numbers))
        return

    table = Table(title=f"batch {arguments.batch_size}, {device}, torch {torch.__version__}")
    table.add_column("one step, ten levels")
    table.add_column("", justify="right")
    table.add_row("parameters", f"{parameters:,}")
    table.add_row("first step", f"{times[0]:.2f} s")
    table.add_row(f"median of {len(measured)} steps", f"{statistics.median(measured):.2f} s")
    table.add_row("fastest", f"{min(measured):.2f} s")
    table.add_row("slowest", f"{max(measured):.2f} s")
    table.add_row("processor time, median", f"{statistics.median(processor[WARM:]):.2f} s")
    table.add_row("memory before the first step", f"{before:.2f} GB")
    table.add_row("peak memory", f"{peak:.2f} GB")
    table.add_row("loss, first and last", f"{losses[0]:.5g}, {losses[-1]:.5g}")
    console = Console(width=100)
    console.print(table)
    rate = arguments.batch_size / statistics.median(measured)
    console.print(
        f"A step takes {statistics.median(measured):.2f} s ({rate:.1f} images/s) and {peak:.2f} GB at its peak; "
        f"an epoch of 162,770 faces would take {162_770 / rate / 3600:.1f} h."
    )


if __name__ == "__main__":
    main()
