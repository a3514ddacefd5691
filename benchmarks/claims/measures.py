"""What is measured of a trained stack beside `evaluate`: probes, what decoding uses of the deepest level, smoothness."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from owae import Stack
from owae.model.inference import evaluating

SIDE = 20  # of the latent grid
CONFIDENT = 0.9  # the classifier's probability from which a picture of the grid counts as a digit
OFTEN = 4  # pictures of the grid, a hundredth of it, from which a digit counts as there


def linear_probe(codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor) -> float:
    """Accuracy on test codes (m, d) of a logistic regression on standardised codes (n, d)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(codes.numpy(), labels.numpy())
    return float(probe.score(test_codes.numpy(), test_labels.numpy()))


def codes_of(stack: Stack, x: Tensor) -> list[Tensor]:
    """The encoders' means at every level, (n, d_i) each."""
    with evaluating(stack):
        return [code.flatten(1) for code in stack.encode(x)]


def share_of_deepest(stack: Stack, codes: int = 200, draws: int = 20, seed: int = 0) -> float:
    """`Var E[x | z_N] / Var x` of ancestral samples: the share of their variance that the deepest level decides.

    By the analysis of variance of `draws` samples at each of `codes` draws of the prior; unbiased in the numerator.
    """
    with evaluating(stack, seed):
        z = stack.prior.sample(codes).repeat_interleave(draws, 0)
        x = stack.decode(z, sample=True).flatten(1).unflatten(0, (codes, draws))
        within = x.var(1).mean(0).sum()
        means = x.mean(1).var(0).sum() - within / draws
        return float(means / (means + within))


def grid_classes(stack: Stack, classify: nn.Module, extent: float = 2.0) -> tuple[int, float]:
    """Of the decoded grid of a two-dimensional z_N: how many digits it shows, and the share of pictures that are surely a digit."""
    from owae_report.events import decode_plane

    grid = decode_plane(stack, SIDE, extent).flatten(0, 1)
    with torch.no_grad():
        sure, digit = classify(grid).softmax(1).max(1)
    counts = digit[sure > CONFIDENT].bincount(minlength=10)
    return int((counts >= OFTEN).sum()), float((sure > CONFIDENT).float().mean())
