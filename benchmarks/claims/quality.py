"""How near samples are to held-out digits: the Fréchet distance of a small classifier's features, MMD and sliced Wasserstein of pixels.

The usual Inception network is neither here nor made for 28×28 digits; a classifier trained on the training digits is. Its
distances compare with each other and with the floor (training digits against held-out ones), not with published FIDs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from owae_mmd import MMD
from owae_transport import SlicedWasserstein

FEATURES = 32  # few against 1,000 pictures, for a covariance needs many more pictures than features
SEED = 1234


class Classifier(nn.Module):
    """A small convolutional network: pictures (B, 1, 28, 28) in [0, 1] to features (B, 32) to logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 7 * 7, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, 10)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def train_classifier(x: Tensor, labels: Tensor, epochs: int = 8) -> Classifier:
    """A classifier of digits (n, 1, 28, 28), always the same for the same digits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Classifier()
        steps = epochs * -(-len(x) // 100)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(100):
                optimizer.zero_grad()
                F.cross_entropy(network(x[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: Classifier, x: Tensor, labels: Tensor) -> float:
    return float((network(x).argmax(1) == labels).float().mean())


@torch.no_grad()
def frechet(network: Classifier, x: Tensor, y: Tensor) -> float:
    """`‖m_x − m_y‖² + tr(C_x + C_y − 2 (C_x C_y)^½)` of the features of pictures (Heusel et al. 2017)."""
    (mean_x, cov_x), (mean_y, cov_y) = (_moments(network.features(pictures)) for pictures in (x, y))
    # The eigenvalues of C_x C_y are those of a positive matrix, whatever rounding says.
    roots = np.sqrt(np.linalg.eigvals(cov_x @ cov_y).real.clip(min=0)).sum()
    return float(np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * roots)


def _moments(features: Tensor) -> tuple[np.ndarray, np.ndarray]:
    values = features.double().numpy()
    return values.mean(0), np.cov(values, rowvar=False)


@torch.no_grad()
def pixel_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased MMD of pixels, imq kernel with the dimension's scales, times 1,000."""
    return 1000 * float(MMD()(x.flatten(1), y.flatten(1)))


@torch.no_grad()
def pixel_sliced(x: Tensor, y: Tensor) -> float:
    """The sliced Wasserstein distance of pixels, 512 directions that are the same each time, times 1,000."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return 1000 * float(SlicedWasserstein(projections=512)(x.flatten(1), y.flatten(1)))
