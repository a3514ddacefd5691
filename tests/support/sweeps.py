"""A sweep that trains in seconds, and the program started as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from installed import install

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


# A plugin that sends a signal when a training logs its third step, the first time any does: no busy machine makes that too late. The
# process leaves its number in a file, and takes its time from then on.
SIGNALLING = """
import os, time
import owae
from owae.hooks import hookimpl

class Signalling(owae.Observer):
    name, always = "signalling", True

    def __init__(self, training, /):
        self.sent = False

    def values(self, values):
        if values["step"] == 3:
            try:
                file = open(os.environ["SENT_BY"], "x")
            except FileExistsError:
                return
            file.write(str(os.getpid()))
            file.close()
            self.sent = True
            os.kill(os.getppid() if os.environ["SENT_TO"] == "parent" else os.getpid(), int(os.environ["SENT"]))
        if self.sent:
            time.sleep(0.05)

@hookimpl
def owae_components():
    return [Signalling]
"""


def signalling(folder: Path, number: int, to: Literal["itself", "parent"] = "itself") -> dict[str, str]:
    """Installs the plugin into a folder and returns the environment in which it is there and sends the signal of that number."""
    site = folder / "site"
    site.mkdir()
    install(site, "owae-p-signalling", SIGNALLING, components=True)
    return {"PYTHONPATH": str(site), "SENT_BY": str(folder / "sent-by"), "SENT_TO": to, "SENT": str(int(number))}


def owae(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Starts the program, its output kept; signals that the tests' own process ignores are not ignored in it."""
    return subprocess.Popen(
        [sys.executable, "-m", "owae", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        start_new_session=True,
    )
