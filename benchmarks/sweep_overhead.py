"""What a sweep costs beyond its trainings: the same trainings and evaluations by a sweep and by a plain loop, side by side.

    python benchmarks/sweep_overhead.py [--points 6]

Both sides run in this process, alternating, so that torch and owae are imported once and a busy machine slows both alike. The
sweep's side is all that a worker does: reading and checking the space, the database, claiming, telling.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path

from owae import Registry
from owae.config.config import Config
from owae.run.train import train
from owae_sweep.space import read
from owae_sweep.start import start
from owae_sweep.trial import measure

SMOKE = Path(__file__).parent.parent / "examples" / "smoke" / "mnist_grid.toml"
TARGET = 2.0


def with_points(folder: Path, points: int) -> Path:
    """Writes the small grid with so many points of one weight and returns its file."""
    head = SMOKE.read_text().partition("[sweep.parameters]")[0]
    path = folder / "grid.toml"
    weights = ", ".join(str(10.0**-i) for i in range(points))
    path.write_text(f'{head}[sweep.parameters]\n"weights.match" = [{weights}]\n')
    return path


def by_hand(config: Path, out: Path) -> float:
    """Seconds of training and evaluating a sweep's points in a loop."""
    registry = Registry.discover()
    sweep, base = read(config, [], registry)
    begun = time.perf_counter()
    for i, point in enumerate(sweep.points()):
        values = Config.from_dict(base.values, registry, overrides=[f"{name}={value}" for name, value in point.items()])
        measure(train(values, registry, out=out / str(i)), sweep.metric)
    return time.perf_counter() - begun


def by_sweep(config: Path, out: Path) -> float:
    """Seconds of a whole sweep, from reading its table to its last value."""
    begun = time.perf_counter()
    start(config, out=out)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=6)
    points = parser.parse_args().points
    logging.getLogger("owae").setLevel(logging.ERROR)
    sides: dict[str, list[float]] = {"by hand": [], "by a sweep": []}
    with tempfile.TemporaryDirectory() as folder:
        config = with_points(Path(folder), points)
        by_hand(config, Path(folder) / "warm")  # imports and first calls
        for i in range(3):
            sides["by hand"].append(by_hand(config, Path(folder) / f"hand{i}") / points)
            sides["by a sweep"].append(by_sweep(config, Path(folder) / f"sweep{i}") / points)
    for name, seconds in sides.items():
        print(f"{name:10}  {statistics.median(seconds):.2f} s a trial (least {min(seconds):.2f}, most {max(seconds):.2f})")
    over = statistics.median(b - a for a, b in zip(sides["by hand"], sides["by a sweep"], strict=True))
    print(f"a sweep adds {over:.2f} s a trial; at most {TARGET:g} s is the aim: {'met' if over < TARGET else 'missed'}")


if __name__ == "__main__":
    main()
