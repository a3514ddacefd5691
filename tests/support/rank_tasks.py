"""What each of several processes does in the tests of `test_ranks`; one process alone does the same."""

from __future__ import annotations

from typing import Any

import tiny
import torch
from torch import Tensor, nn

from owae.distributions import Distribution, Gaussian
from owae.interfaces import LatentLayer, Prior
from owae.model.stack import Level, Stack
from owae.parallel.world import World
from owae.training import Fit
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet
from owae_logvar import LogVariance
from owae_mmd.mmd import MMD


class Moving(Prior):
    """A normal prior whose mean is learned."""

    name = "moving"

    def __init__(self, shape: tuple[int, ...], /) -> None:
        super().__init__(shape)
        self.mean = nn.Parameter(torch.full(shape, 0.3))

    def sample(self, n: int) -> Tensor:
        return self.mean + torch.randn(n, *self.shape, dtype=self.mean.dtype)


class Dropping(LatentLayer):
    """Dropout in the encoder, which draws for each row what the trainer cannot foresee."""

    name = "dropping"

    def __init__(self, in_shape: tuple[int, ...], /) -> None:
        super().__init__()
        self.in_shape, self.latent_shape = in_shape, (4,)
        self.up, self.down, self.seen = nn.Linear(8, 8), nn.Linear(4, 8), torch.zeros(0)

    def encode(self, x: Tensor) -> Distribution:
        self.seen = nn.functional.dropout(torch.ones_like(x), 0.5, self.training)
        return Gaussian.from_network(self.up(x * self.seen))

    def decode(self, z: Tensor) -> Distribution:
        return Gaussian(self.down(z), torch.ones(len(z), 8, dtype=z.dtype))


def stack(kind: str) -> Stack:
    torch.manual_seed(0)
    if kind == "resnet":
        bottom = ResNet((1, 8, 8), channels=2, filters=4, resample="down", output="sigmoid")
        top: LatentLayer = ResNet((2, 4, 4), channels=1, filters=4, resample="down")
    else:
        bottom = MLP((1, 8, 8), latent=8, hidden=[16, 16], output="sigmoid")
        top = Dropping((8,)) if kind == "dropout" else MLP((8,), latent=3, hidden=[16])
    levels = [Level(bottom, regulariser=LogVariance(), penalty=0.1), Level(top, regulariser=LogVariance(), penalty=0.2)]
    if kind == "data":
        levels = [Level(bottom), Level(top, space="data")]
    made = Stack(levels, divergence=MMD(estimator="unbiased"), weights=[0.5, 2.0])
    if kind == "prior":
        made = Stack(levels, divergence=MMD(), weights=[0.5, 2.0], prior=Moving((3,)))
    if kind == "ancestral":
        made = Stack(levels, divergence=MMD(), weights=[2.0], stacked=1)
    return made.double()


def gradients(world: World, kind: str, batch_size: str, examples: str, **options: object) -> dict[str, Tensor]:
    """Loss, gradients and batch norm's statistics of the first step, and the losses and parameters after an epoch."""
    made = stack(kind)
    x = tiny.images(int(examples)).double()
    torch.manual_seed(5 + 7 * world.rank)  # whatever ranks bring along, they must come to agree
    if world.rank == 0:
        torch.manual_seed(5)
    steps = Fit(made, x, epochs=1, batch_size=int(batch_size), world=world, optimizer={"name": "SGD", "lr": 0.01}, **options)  # pyright: ignore[reportArgumentType]
    found: dict[str, Tensor] = {}
    losses = []
    for step in steps:
        losses.append(step.objective.loss.detach())
        if step.step == 1:
            found |= {f"gradient/{name}": p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
            found |= {f"term/{name}": term.detach() for name, term in step.objective.terms().items()}
            found |= {"codes": step.objective.codes[-1].detach()}
            if isinstance(made.layers[-1], Dropping):
                found["dropped"] = made.layers[-1].seen
    found |= {f"state/{name}": value for name, value in made.state_dict().items()}
    return found | {"losses": torch.stack(losses)}


def accumulated(world: World, *arguments: str) -> dict[str, Tensor]:
    return gradients(world, *arguments, accumulate=2)


def checkpointed(world: World, *arguments: str) -> dict[str, Tensor]:
    return gradients(world, *arguments, checkpoint_activations=True)


def validation(world: World) -> dict[str, Tensor]:
    made = tiny.stack()
    held = tiny.images(21, seed=3)
    steps = Fit(made, tiny.images(32), epochs=1, batch_size=8, world=world, validation=held, ema=0.9)
    values: dict[str, float] = {}
    for step in steps:
        if step.last:
            values = steps.validate()
    return {name: torch.tensor(value) for name, value in values.items()}


def norms(world: World) -> dict[str, Tensor]:
    """Batch norms of every kind on 5, then 2 rows: outputs, gradients and statistics, all rows' sums for what is a rank's own."""
    from owae.parallel.batch_norm import synchronise
    from owae.parallel.world import all_reduce

    found = {}
    options: list[dict[str, Any]] = [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"eps": 0.1}]
    for i, option in enumerate(options):
        for cls, shape in ((nn.BatchNorm1d, (3,)), (nn.BatchNorm1d, (3, 4)), (nn.BatchNorm2d, (3, 2, 2))):
            norm = cls(3, **option).double()
            names = list(norm.state_dict())
            synchronise(norm, world)
            assert isinstance(norm, cls)
            assert list(norm.state_dict()) == names
            key = f"{i} {cls.__name__} {len(shape)}"
            for rows, training in ((5, True), (2, True), (3, False)):
                norm.train(training)
                generator = torch.Generator().manual_seed(rows)
                # With a mean that loses half the digits where squares are summed.
                x = 1e5 + torch.randn(rows, *shape, generator=generator, dtype=torch.float64)
                x = world.share(x).requires_grad_()
                output = norm(x)
                (output.sin().sum()).backward()
                assert x.grad is not None
                for name, own in (("output", output.detach()), ("gradient", x.grad)):
                    whole = torch.zeros(rows, *shape, dtype=torch.float64)
                    start = sum(world.rows(rows)[: world.rank])
                    whole[start : start + len(own)] = own
                    found[f"{key} {rows} {name}"] = all_reduce(whole) if world.size > 1 else whole
            for name, parameter in norm.named_parameters():
                assert parameter.grad is not None
                found[f"{key} {name}"] = all_reduce(parameter.grad) if world.size > 1 else parameter.grad
            found |= {f"{key} {name}": value for name, value in norm.state_dict().items() if name.startswith(("running", "num"))}
    half = nn.BatchNorm1d(3)
    synchronise(half, world)
    assert half(world.share(torch.ones(4, 3, dtype=torch.bfloat16))).dtype == torch.bfloat16
    return found


def several(world: World, *tasks: str) -> dict[str, Tensor]:
    """Many tasks, each `function argument argument …`, in one start of the processes, which takes longest."""
    found = {}
    for task in tasks:
        function, *arguments = task.split()
        found |= {f"{task}: {name}": value for name, value in globals()[function](world, *arguments).items()}
    return found
