"""Pictures of a stack show what it gives, the same each time, and leave it none the wiser."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from owae.distributions import Dirac, Gaussian
from owae.interfaces import Divergence, LatentLayer
from owae.model.defaults import StandardNormal
from owae.model.stack import Stack
from owae_report.blocks import Block, latent_grid, layerwise, samples
from owae_report.events import decode_plane, draw_samples, latent_plane, reconstructions
from owae_report.grids import png
from owae_report.pixels import to_pixels


class Zero(Divergence):
    name = "zero"

    def forward(self, x, y):
        return x.sum() * 0


class Linear(LatentLayer):
    """A linear level with batch norm, which tells training mode from evaluation mode."""

    name = "linear"

    def __init__(self, in_shape, latent_shape, /):
        super().__init__()
        self.in_shape, self.latent_shape = tuple(in_shape), tuple(latent_shape)
        inputs, outputs = torch.Size(in_shape).numel(), torch.Size(latent_shape).numel()
        self.up, self.down = nn.Linear(inputs, outputs), nn.Linear(outputs, inputs)
        self.norm = nn.BatchNorm1d(outputs)

    def encode(self, x):
        mean = self.norm(self.up(x.flatten(1))).unflatten(1, self.latent_shape)
        return Gaussian(mean, torch.full_like(mean, 0.1))

    def decode(self, z):
        mean = self.down(self.norm(z.flatten(1))).sigmoid().unflatten(1, self.in_shape)
        return Gaussian(mean, torch.full_like(mean, 0.1))


def stack_of(*shapes: tuple[int, ...]) -> Stack:
    torch.manual_seed(1)
    levels = [Linear(lower, upper) for lower, upper in itertools.pairwise(shapes)]
    stack = Stack(levels, divergence=Zero(), weights=[1.0] * len(levels))
    with torch.no_grad():
        for layer in levels:
            layer.norm.get_buffer("running_mean").fill_(0.3)
    return stack


def noise(seed: int) -> torch.Tensor:
    return torch.rand(3, 1, 6, 5, generator=torch.Generator().manual_seed(seed))


def grid_of(stack: Stack, side: int, value_range: tuple[float, float] = (0.0, 1.0), seed: int = 0) -> Block:
    rows = [to_pixels(row, value_range) for row in decode_plane(stack, side, seed=seed)]
    return latent_grid(rows, stack.depth, math.prod(stack.layers[-1].latent_shape))


DRAWN = {
    "samples": lambda stack, seed: png(samples(to_pixels(draw_samples(stack, 300, seed), (0.0, 1.0)))),
    "grid": lambda stack, seed: png(grid_of(stack, 3, seed=seed)),
    "layerwise": lambda stack, seed: png(layerwise([to_pixels(each, (0.0, 1.0)) for each in reconstructions(stack, noise(seed))])),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize("training", [True, False])
def test_drawing_leaves_no_trace(draw, training):
    stack = stack_of((1, 6, 5), (4,), (3,)).train(training)
    stack.layers[1].train(not training)
    modes = [module.training for module in stack.modules()]
    state = {name: tensor.clone() for name, tensor in stack.state_dict().items()}
    generator = torch.get_rng_state()
    draw(stack, 0)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in stack.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in stack.state_dict().items())
    assert torch.is_grad_enabled()


def test_a_failure_leaves_no_trace_either():
    stack = stack_of((1, 6, 5), (4,)).train()
    generator = torch.get_rng_state()
    with pytest.raises(ValueError, match="x has events of shape"):
        reconstructions(stack, torch.zeros(2, 99))
    assert stack.layers[0].training
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_a_seed_decides_every_byte(draw):
    stack = stack_of((1, 6, 5), (4,), (3,))
    torch.manual_seed(3)
    first = draw(stack, 0)
    torch.manual_seed(4)
    assert draw(stack.train(), 0) == first
    assert draw(stack, 1) != first


def test_samples_are_the_models_in_evaluation_mode():
    stack = stack_of((1, 6, 5), (4,), (3,))
    drawn = draw_samples(stack.train(), 5, seed=7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        assert torch.equal(drawn, stack.eval().sample(5))


def test_reconstructions_stand_bottom_first_in_any_number():
    stack = stack_of((1, 6, 5), (4,), (3,)).eval()
    x = torch.rand(600, 1, 6, 5)
    found = reconstructions(stack, x)
    assert torch.equal(found[0], x)
    for level in (1, 2):
        torch.testing.assert_close(found[level], stack.reconstruct(x, level).detach())
    # One alone.
    torch.testing.assert_close(reconstructions(stack, x[:1])[2], found[2][:1])


def test_layerwise_has_data_below_and_the_deepest_level_above():
    levels = [np.full((4, 8, 8), level, np.uint8) for level in range(3)]
    block = layerwise(levels)
    assert [int(row[0, 0, 0]) for row in block.rows] == [2, 1, 0]
    assert block.labels == ["$z_{2}$", "$z_{1}$", "$x$"]


# The latent grid


def test_the_grid_of_two_dimensions_runs_rightwards_and_upwards():
    plane = latent_plane(2, 5, extent=2.0)
    assert plane[0, 0].tolist() == [-2, 2]
    assert plane[-1, -1].tolist() == [2, -2]
    assert plane[2, :, 0].tolist() == plane[:, 2, 1].flip(0).tolist() == [-2, -1, 0, 1, 2]


def test_the_grid_of_one_dimension_is_a_row():
    assert latent_plane(1, 3, extent=1.5).tolist() == [[[-1.5], [0], [1.5]]]
    assert decode_plane(stack_of((1, 6, 5), (1,)), side=3).shape == (1, 3, 1, 6, 5)


@pytest.mark.parametrize("dimension", [2, 3, 16, 128, 3000])
def test_a_plane_in_more_dimensions_is_even_and_stays_where_draws_lie(dimension):
    plane = latent_plane(dimension, 9, extent=2.0, seed=5)
    rightwards, downwards = plane[:, 1:] - plane[:, :-1], plane[1:] - plane[:-1]
    steps = torch.cat([rightwards.flatten(0, 1), downwards.flatten(0, 1)]).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=1e-3, atol=0)
    assert abs(rightwards[0, 0] @ downwards[0, 0]) < 1e-3 * steps[0] ** 2
    torch.testing.assert_close(plane[4, 4], torch.zeros(dimension), atol=1e-5, rtol=0)
    # In two dimensions 98.2% of a standard normal is nearer to 0 than the corner at (2, 2).
    torch.manual_seed(0)
    inside = (torch.randn(4000, dimension).norm(dim=1) < plane[0, 0].norm()).float().mean()
    assert 0.97 < inside < 0.992


def test_codes_of_any_shape_are_laid_out():
    stack = stack_of((3, 4, 4), (2, 2, 3))
    decoded = decode_plane(stack, side=4, seed=2)
    codes = latent_plane(12, 4, seed=2)
    torch.testing.assert_close(decoded[1, 3], stack.eval().decode(codes[1, 3].view(1, 2, 2, 3))[0].detach())


class Copy(LatentLayer):
    """Shows the two coordinates of its code as two pixels."""

    name = "copy"
    in_shape, latent_shape = (1, 1, 2), (2,)

    def encode(self, x):
        return Dirac(x.flatten(1))

    def decode(self, z):
        return Dirac(z.view(-1, 1, 1, 2))


def test_the_grids_picture_has_the_planes_orientation():
    stack = Stack([Copy()], divergence=Zero(), weights=[1.0], prior=StandardNormal((2,)))
    block = grid_of(stack, 2, (-2.0, 2.0))
    # Each picture's left pixel shows z[0], its right one z[1].
    assert [picture.tolist() for row in block.rows for picture in row] == [[[0, 255]], [[255, 255]], [[0, 0]], [[255, 0]]]
    assert (block.below, block.beside) == ("$z_{1}[0]$ from −2 to 2", "$z_{1}[1]$ from −2 to 2")
