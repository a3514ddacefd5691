"""Measures how pictures look, whatever they show: contrast and roughness, which a small network may judge by alone.

Pictures are (n, C, H, W) or (n, H, W) with values in [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def contrast(x: Float[Tensor, "n *x"]) -> float:
    """Returns the standard deviation of a picture's values, mean over pictures."""
    return float(x.flatten(1).std(1, correction=0).mean())


def roughness(x: Float[Tensor, "n *x"]) -> float:
    """Returns the mean squared difference of neighbouring pixels over the pictures' variance: how much fine detail they have."""
    steps = (x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean()) / 2
    return float(steps / x.var())


def with_gain(x: Float[Tensor, "n *x"], gain: float) -> Float[Tensor, "n *x"]:
    """Multiplies the logits of pixels by a gain: pictures of the same things, sharper where it exceeds 1."""
    return torch.sigmoid(gain * torch.logit(x, eps=1e-4))


def matching_gain(x: Float[Tensor, "n *x"], target: float, most: float = 8.0) -> float:
    """Finds the gain between 1/`most` and `most` that makes pictures as rough as asked, by bisection on its logarithm."""
    low, high = 1 / most, most
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if roughness(with_gain(x, middle)) < target else (low, middle)
    return (low * high) ** 0.5
