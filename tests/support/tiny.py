"""The smallest stack that is one: 64 random 1×8×8 images, two levels (8, 2), MLP width 16, two epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from owae.model.stack import Stack
from owae_layers.mlp import MLP
from owae_mmd.mmd import MMD


def images(count: int = 64, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def stack(seed: int = 0, shape: tuple[int, ...] = (1, 8, 8)) -> Stack:
    torch.manual_seed(seed)
    bottom = MLP(shape, latent=8, hidden=[16, 16], output="sigmoid")
    top = MLP((8,), latent=2, hidden=[16, 16])
    return Stack([bottom, top], divergence=MMD(), weights=[0.5, 0.5])


def config(folder: Path, *, count: int = 64, images_: np.ndarray | None = None, **train: object) -> Path:
    """A config of the same stack on an .npz beside it."""
    array = (images(count).numpy() * 255).astype(np.uint8) if images_ is None else images_
    np.savez(folder / "images.npz", images=array, labels=np.arange(len(array)) % 4)
    options = {"epochs": 2, "batch_size": 16, "log_every": 1, **train}
    lines = "\n".join(f"{key} = {value!r}" for key, value in options.items())
    path = folder / "tiny.toml"
    path.write_text(f"""
[data]
kind = "arrays"
path = "images.npz"

[[levels]]
layer = {{ kind = "mlp", latent = 8, hidden = [16, 16], output = "sigmoid" }}

[[levels]]
layer = {{ kind = "mlp", latent = 2, hidden = [16, 16] }}

[weights]
reconstruction = [0.5]
match = 0.5

[divergence]
kind = "mmd"

[train]
{lines}
""")
    return path
