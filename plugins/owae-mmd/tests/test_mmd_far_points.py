"""Distances and gradients in float32 where points are near each other and far from the rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from owae_mmd import MMD
from owae_mmd.distances import prepare
from owae_mmd.kernels import make


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("clusters", [3, 200])
def test_near_points_keep_their_distances_whatever_is_far(spread: float, clusters: int):
    """Multiplied out they would be lost: tight clusters, equal points, an outlier; few near pairs, and many."""
    generator = torch.Generator().manual_seed(clusters)
    centres = 10 * torch.randn(clusters, 20, generator=generator)
    z = centres[torch.randint(clusters, (600,), generator=generator)] + spread * torch.randn(600, 20, generator=generator)
    z[5] *= 10
    points, exact = prepare(make("energy", (), 1.0), z), (z.double()[:, None] - z.double()).square().sum(2)
    for rows, columns in ((slice(0, 600), slice(0, 600)), (slice(40, 300), slice(40, 600)), (slice(0, 100), slice(300, 600))):
        found, expected = points.between(rows, columns).double(), exact[rows, columns]
        assert ((found - expected).abs() <= 1e-4 * expected).all()


@pytest.mark.parametrize("kernel", ["imq", "gaussian", "rational-quadratic", "laplacian", "energy"])
@pytest.mark.parametrize("d", [2, 20, 100])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_tight_cluster_far_from_the_other_sample_keeps_its_gradient(kernel: Any, d: int, swapped: bool):
    """The differences within a cluster are small beside the coordinates of its place, whatever these are counted from elsewhere."""
    generator = torch.Generator().manual_seed(d)
    tight = 1e-2 * torch.randn(300, d, generator=generator) + 1000 / d**0.5
    wide = torch.randn(300, d, generator=generator)

    def gradient(backend: Any, dtype: torch.dtype) -> Tensor:
        x = tight.to(dtype, copy=True).requires_grad_()
        samples = (wide.to(dtype), x) if swapped else (x, wide.to(dtype))
        MMD(kernel=kernel, backend=backend)(*samples).backward()
        assert x.grad is not None
        return x.grad.double()

    expected = gradient("dense", torch.float64)
    for backend in ("dense", "tiled"):
        assert (gradient(backend, torch.float32) - expected).norm() <= 1e-4 * expected.norm()
