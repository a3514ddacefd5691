"""A set twice the memory that its reader may use: images per second, and the share of an epoch of the CelebA stack that waits for it.

    python benchmarks/bounded_loader.py [--quick] [--allowed 256] [--steps 2]

Twice the allowed memory in pictures of CelebA's size lie in tar files (`shards`, which decodes them when they are asked for), and decoded
in one mapped file (what a source of pictures beyond 2 GiB uses). Each is read by a process of its own, whose private memory is limited by
RLIMIT_DATA to what its imports take and the allowed amount (Linux). The files' pages are dropped from the system's cache before. Then a
step of `examples/celeba.toml`, batch 64, is measured without the limit. The share is that of the wait for a batch in wait and step.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

SIZE, BATCH, SHARD, WAITING = 64, 64, 2000, 0.02
DIFFERENT = 512  # pictures that are drawn; the rest repeat them


def write_shards(folder: Path, total: int) -> tuple[list[Path], int]:
    """Writes tar files of so many bytes in all; returns them and the number of pictures."""
    generator = np.random.default_rng(0)
    drawn = [jpeg(generator) for _ in range(DIFFERENT)]
    paths, count, written = [], 0, 0
    while written < total:
        paths.append(folder / f"part-{len(paths):03d}.tar")
        with tarfile.open(paths[-1], "w") as tar:
            for _ in range(SHARD):
                content = drawn[count % DIFFERENT]
                info = tarfile.TarInfo(f"{count:07d}.jpg")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
                count += 1
        written += paths[-1].stat().st_size
    return paths, count


def jpeg(generator: np.random.Generator) -> bytes:
    """A smooth picture of 178×218 with some grain, about as hard to decode as a photograph."""
    coarse = Image.fromarray(generator.integers(0, 256, (14, 11, 3), dtype=np.uint8))
    smooth = coarse.resize((178, 218), Image.Resampling.BICUBIC)
    grain = generator.normal(0, 6, (218, 178, 1))
    stream = io.BytesIO()
    Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)).save(stream, format="JPEG", quality=90)
    return stream.getvalue()


def write_decoded(path: Path, total: int) -> int:
    """Writes a file of so many bytes as decoded pictures are kept in; returns the number of pictures."""
    count = -(-total // (3 * SIZE * SIZE))
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 3, SIZE, SIZE))
    generator = np.random.default_rng(0)
    for at in range(0, count, SHARD):
        rows[at : at + SHARD] = generator.integers(0, 256, rows[at : at + SHARD].shape, dtype=np.uint8)
    rows.flush()
    return count


def forget(paths: list[Path]) -> None:
    """Drops the pages of files from the system's cache, as far as nobody maps them."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def status(name: str) -> int:
    """A number of bytes that the system tells of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) << 10


def read(kind: str, place: Path, workers: int, allowed: int, batches: int) -> None:
    """Reads batches in this process, its memory limited, and prints what came of it as JSON."""
    import resource

    from owae.data.loader import Loader
    from owae_data.base import StoredSource
    from owae_data.cache import mapped
    from owae_data.shards.source import Shards

    torch.set_num_threads(1)
    limit = status("VmData") + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    before = status("RssAnon")
    options: dict[str, Any] = {
        "crop": (140, 140),
        "size": (SIZE, SIZE),
        "channels": 3,
        "value_range": (-1.0, 1.0),
        "holdout": 0.001,
    }
    source = Shards("train", path=place, **options) if kind == "shards" else StoredSource(mapped(place), value_range=(-1.0, 1.0))
    loader = Loader(source, BATCH, workers=workers)
    epoch = loader.epoch(1)
    next(epoch)  # starts the workers
    waits, most, begun = [], 0, time.perf_counter()
    for _ in range(min(batches, len(loader) - 1)):
        asked = time.perf_counter()
        next(epoch)
        waits.append(time.perf_counter() - asked)
        most = max(most, status("RssAnon") - before)
    rate = BATCH * len(waits) / (time.perf_counter() - begun)
    epoch.close()
    loader.close()
    sys.stdout.write(json.dumps({"rate": rate, "wait": statistics.mean(waits), "private": most}) + "\n")


def step_time(steps: int) -> float:
    """Seconds that a step of the ten-level CelebA stack takes, its batch at hand."""
    from owae import Config, Registry, fit
    from owae.config.build import build_stack
    from owae.data.sources import TensorSource

    registry = Registry.discover()
    config = Config.load(Path(__file__).parent.parent / "examples" / "celeba.toml", registry, [f"train.batch_size={BATCH}"])
    stack = build_stack(config, registry, (3, SIZE, SIZE), (-1.0, 1.0))
    images = torch.randint(256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8)
    times, begun = [], time.perf_counter()
    made = fit(stack, TensorSource(images, None, (-1.0, 1.0)), epochs=1 + steps, batch_size=BATCH, optimizer=config.train.optimizer)
    for step in made:
        step.objective.loss.item()
        times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer batches")
    parser.add_argument("--allowed", type=int, default=256, help="MiB that reading may take")
    parser.add_argument("--steps", type=int, default=2, help="of the CelebA stack, after the first")
    parser.add_argument("--read", nargs=4, metavar=("KIND", "PLACE", "WORKERS", "BATCHES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    allowed = options.allowed << 20
    if options.read:
        kind, place, workers, batches = options.read
        read(kind, Path(place), int(workers), allowed, int(batches))
        return
    batches = 40 if options.quick else 10**9
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["OWAE_DATA"] = str(folder / "home")
        shards, pictures = write_shards(folder, 2 * allowed)
        decoded = write_decoded(folder / "decoded.npy", 2 * allowed)
        sides = {"mapped, no workers": ("mapped", folder / "decoded.npy", 0, batches)}
        sides |= {f"shards, {n} workers": ("shards", folder, n, min(batches, 200)) for n in (0, 2)}
        for name, asked in sides.items():
            forget([*shards, folder / "decoded.npy"])
            command = [sys.executable, __file__, "--allowed", str(options.allowed), "--read", *map(str, asked)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
        sizes = [sum(path.stat().st_size for path in shards) >> 20, (folder / "decoded.npy").stat().st_size >> 20]
    step = step_time(options.steps)
    table = Table(title=f"{options.allowed} MiB allowed, batches of {BATCH}, {os.cpu_count()} cores, torch {torch.__version__}")
    for column in ("who reads", "images/s", "wait a batch", "private memory", "share of an epoch"):
        table.add_column(column, justify="left" if column == "who reads" else "right")
    worst = 0.0
    for name, each in found.items():
        share = each["wait"] / (each["wait"] + step)
        worst = max(worst, share)
        wait, private = f"{1e3 * each['wait']:.1f} ms", f"{each['private'] / 2**20:.0f} MiB"
        table.add_row(name, f"{each['rate']:,.0f}", wait, private, f"{100 * share:.2f}%")
    console = Console(width=120)
    console.print(table)
    console.print(
        f"Shards: {pictures:,} JPEGs in {len(shards)} files, {sizes[0]:,} MiB. Mapped: {decoded:,} pictures, {sizes[1]:,} MiB."
    )
    verdict = "within" if worst < WAITING else "above"
    console.print(f"A step of the CelebA stack takes {step:.1f} s.")
    console.print(f"At most {100 * worst:.2f}% of an epoch is spent waiting, {verdict} the target of 2%.")


if __name__ == "__main__":
    main()
