"""A sweep that trains in seconds, and the program started as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFIG = """
[data]
kind = "digits"

[[levels]]
layer = {{ kind = "mlp", latent = 4, hidden = [8], output = "sigmoid" }}

[[levels]]
layer = {{ kind = "mlp", latent = 2, hidden = [8] }}

[divergence]
kind = "mmd"

[weights]
match = 1.0
reconstruction = {{ rule = "constant", value = 0.1 }}

[train]
epochs = {epochs}
batch_size = 500
pictures_every = 0
device = "cpu"

[sweep]
{sweep}
"""

GRID = """
metric = "levels[1].error"
direction = "minimize"

[sweep.parameters]
"weights.match" = [0.1, 1.0]
"levels[0].layer.latent" = [3, 4, 5]
"""


def write_config(folder: Path, sweep: str = GRID, epochs: int = 1) -> Path:
    path = folder / "tiny.toml"
    path.write_text(CONFIG.format(sweep=sweep, epochs=epochs))
    return path


# Owae, which dies by SIGKILL when it logs a step: no busy machine makes that too late.
DYING = """
import os, signal
from owae.cli import main
from owae.run.metrics import Metrics

write = Metrics.write

def dying(self, fit, step, *more):
    if step.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, fit, step, *more)

Metrics.write = dying
main()
"""


def owae(*arguments: str | Path, program: tuple[str, str] = ("-m", "owae")) -> subprocess.Popen[str]:
    """Starts the program, its output kept; signals that the tests' own process ignores are not ignored in it."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
