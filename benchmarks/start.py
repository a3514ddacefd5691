"""From `owae train` to the first step: a process is started, and its log watched for the first line.

    python benchmarks/start.py [CONFIG] [--times 5] [--imports]

The config is `examples/quickstart.toml` unless given; the first start, which warms the caches, is not counted. On Linux the processor
time used until then stands beside the wall clock's: on a machine that does other things too, it is the one to look at.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

TARGET = 4.0
EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart.toml"


def first_step(config: Path) -> tuple[float, float]:
    """Seconds by the wall and of the processor until the first step is logged."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run" / "metrics.jsonl"
        command = [sys.executable, "-m", "owae", "train", str(config), "--out", str(log.parent)]
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (log.exists() and log.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"training ended before its first step: {' '.join(command)} tells why")
                time.sleep(0.005)
            return time.perf_counter() - begun, processor_time(process.pid)
        finally:
            process.kill()
            process.wait()


def processor_time(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return float("nan")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def imports() -> list[tuple[float, str]]:
    """The dearest imports of training, with all that they bring: (seconds, name)."""
    code = "import owae.cli.train, owae.run.train, torch._dynamo; from owae.registry.registry import Registry; Registry.discover()"
    lines = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True).stderr
    found = re.findall(r"import time:\s+\d+ \|\s+(\d+) \| ( *)(\S+)", lines)
    return sorted(((int(time_) / 1e6, name) for time_, _, name in found), reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--imports", action="store_true", help="list the dearest imports as well")
    options = parser.parse_args()
    first_step(options.config)
    walls, processors = zip(*(first_step(options.config) for _ in range(options.times)), strict=True)
    table = Table(title=f"`owae train {options.config.name}` to its first step, {options.times} starts")
    for column in ("", "median s", "fastest s"):
        table.add_column(column, justify="right" if column else "left")
    for name, taken in (("wall clock", walls), ("processor", processors)):
        table.add_row(name, f"{statistics.median(taken):.2f}", f"{min(taken):.2f}")
    console = Console(width=100)
    console.print(table)
    if options.imports:
        for seconds, name in imports()[:15]:
            console.print(f"{seconds:6.2f} s  {name}")
    middle = statistics.median(walls)
    console.print(f"Start to first step: {middle:.1f} s; {'within' if middle <= TARGET else 'above'} the target of {TARGET:.0f} s.")


if __name__ == "__main__":
    main()
