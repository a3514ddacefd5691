"""Images per second that reach a training loop: ours against torchvision's data sets in torch's DataLoader, in one run.

    pip install torchvision
    python benchmarks/loader.py [--quick] [--workers 2] [--device cpu]

Both sides give shuffled float batches of 128 from the same examples, made here: 60,000 grey images of 28×28 ("MNIST-like") and JPEG files
of 178×218, cropped to 140×140 and resized to 64×64 ("CelebA-like"). Theirs reads them as torchvision's MNIST and ImageFolder do. Sides take
epochs in turn after one to warm up; rates are medians. Last, one epoch of the paper's MNIST networks: how much of it waits for data.
A set that is larger than memory: `bounded_loader.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import engine_overhead
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from owae import DataSource, Stack, fit
from owae.data.loader import Loader
from owae.data.sources import TensorSource
from owae_data.image_folder import ImageFolder
from owae_layers import MLP
from owae_mmd import MMD

BATCH, CROP, SIZE = 128, 140, 64
TARGET, WAITING = 30.0, 0.02
Epoch = Callable[[int], Iterable[Any]]  # its number → batches


class Jpegs(DataSource):
    """Decodes each picture when it is asked for, as a stranger's source may; what workers are for."""

    name = "jpegs"
    value_range = (-1.0, 1.0)
    shape = (3, SIZE, SIZE)

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
            cropped = image.convert("RGB").crop((left, top, left + CROP, top + CROP))
        return torch.from_numpy(np.array(cropped.resize((SIZE, SIZE), Image.Resampling.BILINEAR))).permute(2, 0, 1)


def torchvision_mnist(images: Tensor, workers: int) -> Epoch:
    """The examples as `torchvision.datasets.MNIST` hands them out: a PIL image each, made a tensor."""
    from torchvision.datasets import VisionDataset
    from torchvision.transforms import ToTensor

    class Mnist(VisionDataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            image = Image.fromarray(images[index, 0].numpy())
            return (image if self.transform is None else self.transform(image)), 0

    return dataloader(Mnist("", transform=ToTensor()), workers)


def torchvision_folder(folder: Path, workers: int) -> Epoch:
    from torchvision import datasets
    from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

    transform = Compose([CenterCrop(CROP), Resize(SIZE), ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])
    return dataloader(datasets.ImageFolder(str(folder), transform), workers)


def dataloader(dataset: Any, workers: int) -> Epoch:
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda _: loader


def ours(source: DataSource, device: str, workers: int = 0) -> Epoch:
    return Loader(source, BATCH, device=device, workers=workers).epoch


def write_jpegs(folder: Path, count: int) -> list[Path]:
    """Smooth pictures with some grain, about as hard to decode as photographs: 10 to 15 kB each."""
    generator = np.random.default_rng(0)
    paths = []
    for i in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (14, 11, 3), dtype=np.uint8)).resize(
            (178, 218), Image.Resampling.BICUBIC
        )
        grain = generator.normal(0, 6, (218, 178, 1))
        path = folder / str(i % 2) / f"{i:05d}.jpg"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(path)
    return paths


def rates(sides: dict[str, tuple[Epoch, int]], rounds: int) -> dict[str, list[float]]:
    """Images per second, epoch by epoch, by side."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, (epoch, images) in sides.items():
            begun = time.perf_counter()
            for _ in epoch(number + 1):
                pass
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                found[name].append(images / (time.perf_counter() - begun))
    return found


def waiting(images: Tensor, device: str) -> tuple[float, float, int]:
    """One epoch of the paper's MNIST networks: seconds waited for data, seconds in all, steps."""
    layers, shape = [], (1, 28, 28)
    for i, (d, w) in enumerate(zip(engine_overhead.DIMS, engine_overhead.WIDTHS, strict=True)):
        layers.append(MLP(shape, latent=d, hidden=[w, w], output="sigmoid" if i == 0 else "linear"))
        shape = (d,)
    stack = Stack(layers, divergence=MMD(), weights=engine_overhead.WEIGHTS)
    steps = fit(stack, TensorSource(images), epochs=1, batch_size=BATCH, device=device)
    begun = time.perf_counter()
    taken = sum(1 for _ in steps)
    return steps.loader.waited, time.perf_counter() - begun, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer examples and rounds")
    parser.add_argument("--workers", type=int, default=2, help="of torch's DataLoader")
    parser.add_argument("--device", default="cpu", help="where our batches end up")
    options = parser.parse_args()
    rounds, jpegs, trained = (1, 600, 6_400) if options.quick else (3, 4_000, 60_000)
    images = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    theirs, n = f"torchvision, DataLoader, {options.workers} workers", options.workers
    table = Table(title=f"Batches of {BATCH}, torch {torch.__version__}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    for column in ("examples", "who reads", "images/s", "against torchvision"):
        table.add_column(column, justify="left" if column in ("examples", "who reads") else "right")
    ratios: dict[str, float] = {}

    def measure(what: str, sides: dict[str, tuple[Epoch, int]]) -> None:
        found = rates(sides, rounds)
        for name, each in found.items():
            ratios[f"{what}, {name}"] = statistics.median(a / b for a, b in zip(each, found[theirs], strict=True))
            table.add_row(what, name, f"{statistics.median(each):,.0f}", f"{ratios[f'{what}, {name}']:.1f}×")

    count = len(images)
    measure(
        "MNIST-like, 60,000",
        {
            "owae": (ours(TensorSource(images), options.device), count),
            theirs: (torchvision_mnist(images, n), count),
            "torchvision, DataLoader, no workers": (torchvision_mnist(images, 0), count),
        },
    )
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["OWAE_DATA"] = str(Path(temporary) / "decoded")
        folder = Path(temporary) / "pictures"
        paths = write_jpegs(folder, jpegs)
        begun = time.perf_counter()
        cached = ImageFolder("train", path=folder, crop=(CROP, CROP), size=(SIZE, SIZE), value_range=(-1.0, 1.0), holdout=0.001)
        decoding = time.perf_counter() - begun
        reading = Loader(Jpegs(paths), BATCH, device=options.device, workers=n)
        measure(
            f"CelebA-like, {jpegs:,}",
            {
                "owae, decoded once": (ours(cached, options.device), len(cached)),
                f"owae, decoding each time, {n} workers": (reading.epoch, jpegs),
                theirs: (torchvision_folder(folder, n), jpegs),
            },
        )
        reading.close()
    waited, whole, steps = waiting(images[:trained], options.device)

    console = Console(width=120)
    console.print(table)
    ratio, share = ratios["MNIST-like, 60,000, owae"], waited / whole
    console.print(f"Decoding the {jpegs:,} JPEGs once took {decoding:.1f} s.")
    console.print(
        f"MNIST-like: {ratio:.0f}× torchvision with {n} workers; {'within' if ratio >= TARGET else 'below'} the target of 30×."
    )
    console.print(
        f"Waiting for data: {100 * share:.2f}% of {steps} training steps ({waited:.2f} of {whole:.1f} s); "
        f"{'within' if share < WAITING else 'above'} the target of 2%."
    )


if __name__ == "__main__":
    main()
