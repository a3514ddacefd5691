"""The models that are compared: one set of networks, one budget; objectives as the examples write them."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"

STACKED, STACKED_LOGVAR, DEEP, WAE, HVAE = (
    "StackedWAE",
    "StackedWAE + log-variance",
    "StackedWAE, data space",
    "WAE (Eq. 8)",
    "HVAE",
)
BATCH = 125  # divides the 4,000: at 128 every epoch ends in a batch of 32, which batch norm and deep levels pay for


def configs(seed: int, epochs: int, wae_match: float) -> dict[str, dict[str, Any]]:
    """By model, a config as TOML values: mnist_deep.toml's data, networks, optimiser and schedule, each with its own objective."""
    deep = _read("mnist_deep")
    deep["train"] |= {"seed": seed, "epochs": epochs, "batch_size": BATCH, "pictures_every": 0, "checkpoint_every": 50}
    plain = copy.deepcopy(deep)
    for level in plain["levels"]:
        level.pop("space", None)
        level.pop("target", None)
    printed = _read("mnist")["weights"]
    rule = {**printed["reconstruction"], "base": 0.5}  # of the paper's grid, the value that did better here
    hvae = _read("mnist_hvae")
    return {
        STACKED: {**plain, "weights": {**printed, "reconstruction": rule}},
        STACKED_LOGVAR: {
            **plain,
            "regulariser": {"kind": "log-variance"},
            # Variances near 1 make every latent wider, and at the printed weight the top then runs away from its prior.
            "weights": {"match": 1.0, "reconstruction": rule, "regulariser": {"rule": "exponential", "scale": 0.05}},
        },
        DEEP: deep,
        WAE: {**plain, "matched_level": 1, "weights": {"match": wae_match}},
        HVAE: {**plain, **{key: hvae[key] for key in ("cost", "regulariser", "divergence", "weights")}},
    }


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLES / f"{name}.toml").read_text())
