"""What each of several processes does in the tests of `test_ranks`; one process alone does the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import tiny
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from owae.distributions import Distribution, Gaussian
from owae.interfaces import LatentLayer, Prior
from owae.model.stack import Level, Stack
from owae.parallel.batch_norm import sync_batchnorm
from owae.parallel.gather import all_reduce, rows_of
from owae.training import Fit
from owae_layers.mlp import MLP
from owae_layers.resnet import ResNet
from owae_logvar import LogVariance
from owae_mmd.mmd import MMD


class Draws:
    """Standard normal noise for all rows of a batch, the same in every process, of which each takes its own rows."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.rank, self.ranks, self.count, self.calls = rank, ranks, 0, 0

    def __call__(self, p: Distribution) -> Tensor:
        whole = self.noise(self.count, tuple(p.mean.shape[1:]))
        own = whole if len(p.mean) == self.count else whole.tensor_split(self.ranks)[self.rank]
        return p.mean + p.variance.sqrt() * own.to(p.mean.dtype)

    def noise(self, count: int, shape: tuple[int, ...]) -> Tensor:
        self.calls += 1
        return torch.randn(count, *shape, generator=torch.Generator().manual_seed(self.calls), dtype=torch.float64)


class Given(Prior):
    """A normal prior whose mean is learned, and whose noise is handed in."""

    name = "given"

    def __init__(self, shape: tuple[int, ...], /) -> None:
        super().__init__(shape)
        self.mean = nn.Parameter(torch.full(shape, 0.3))
        self.draws = Draws(0, 1)

    def sample(self, n: int) -> Tensor:
        return self.mean + self.draws.noise(n, self.shape).to(self.mean.dtype)


class Dropping(LatentLayer):
    """A layer with dropout in its encoder."""

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
    levels = [
        Level(bottom, regulariser=LogVariance(), penalty_weight=0.1),
        Level(top, regulariser=LogVariance(), penalty_weight=0.2),
    ]
    if kind == "data":
        levels = [Level(bottom), Level(top, space="data")]
    prior = Given(tuple(top.latent_shape))
    if kind == "ancestral":
        return Stack(levels, divergence=MMD(), weights=[2.0], prior=prior, matched_level=1).double()
    return Stack(levels, divergence=MMD(estimator="unbiased"), weights=[0.5, 2.0], prior=prior).double()


def with_given_noise(steps: Fit, rank: int, ranks: int) -> None:
    """Hands the noise of a training in: the whole batch's, the same whatever the number of processes."""
    draws = Draws(rank, ranks)
    steps.objective.context = replace(steps.objective.context, draw=draws)
    steps.objective.register_forward_pre_hook(lambda _, arguments: setattr(draws, "count", arguments[1]))
    assert isinstance(steps.stack.prior, Given)
    steps.stack.prior.draws = draws


def gradients(fabric: Fabric, kind: str, batch_size: str, examples: str, **options: Any) -> dict[str, Tensor]:
    """Loss, gradients and batch norm's statistics of the first step, and the losses and parameters after an epoch."""
    made = stack(kind)
    x = tiny.images(int(examples)).double()
    options = {"optimizer": {"name": "SGD", "lr": 0.01}, "epochs": 1, "batch_size": int(batch_size), **options}
    steps = Fit(made, x, fabric=fabric, **options)
    with_given_noise(steps, fabric.global_rank, fabric.world_size)
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


def accumulated(fabric: Fabric, *arguments: str) -> dict[str, Tensor]:
    return gradients(fabric, *arguments, accumulate=2)


def checkpointed(fabric: Fabric, *arguments: str) -> dict[str, Tensor]:
    return gradients(fabric, *arguments, checkpoint_activations=True)


def validation(fabric: Fabric) -> dict[str, Tensor]:
    made = stack("mlp")
    steps = Fit(
        made, tiny.images(32).double(), fabric=fabric, epochs=1, batch_size=8, validation=tiny.images(21, seed=3).double(), ema=0.9
    )
    with_given_noise(steps, fabric.global_rank, fabric.world_size)
    values: dict[str, float] = {}
    for step in steps:
        if step.last:
            values = steps.validate()
    return {name: torch.tensor(value) for name, value in values.items()}


def streams(fabric: Fabric) -> dict[str, Tensor]:
    """Codes of the first step and of one after a resumption, with noise of each process's own."""
    x = tiny.images(48).double()
    steps = Fit(stack("dropout"), x, fabric=fabric, epochs=2, batch_size=16)
    iterator = iter(steps)
    first = next(iterator).objective.codes[-1].detach()
    saved = copy.deepcopy(steps.state())
    second = next(iterator).objective.codes[-1].detach()
    again = Fit(stack("dropout"), x, fabric=fabric, epochs=2, batch_size=16)
    again.restore(saved)
    resumed = next(iter(again)).objective.codes[-1].detach()
    return {"first": first, "second": second, "resumed": resumed}


def norms(fabric: Fabric) -> dict[str, Tensor]:
    """Batch norms of every kind on 5, then 2 rows: outputs, gradients and statistics, all rows' sums for what is a rank's own."""
    rank, ranks = fabric.global_rank, fabric.world_size

    found = {}
    options: list[dict[str, Any]] = [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"eps": 0.1}]
    for i, option in enumerate(options):
        for cls, shape in ((nn.BatchNorm1d, (3,)), (nn.BatchNorm1d, (3, 4)), (nn.BatchNorm2d, (3, 2, 2))):
            norm = cls(3, **option).double()
            model = nn.Sequential(norm)
            names = list(norm.state_dict())
            if ranks > 1:
                sync_batchnorm(model, fabric.device, ranks)
            assert isinstance(norm, cls)
            assert list(norm.state_dict()) == names
            key = f"{i} {cls.__name__} {len(shape)}"
            for rows, training in ((5, True), (2, True), (3, False)):
                norm.train(training)
                generator = torch.Generator().manual_seed(rows)
                # With a mean that loses half the digits where squares are summed.
                x = 1e5 + torch.randn(rows, *shape, generator=generator, dtype=torch.float64)
                x = x.tensor_split(ranks)[rank].requires_grad_()
                output = norm(x)
                (output.sin().sum()).backward()
                assert x.grad is not None
                for name, own in (("output", output.detach()), ("gradient", x.grad)):
                    whole = torch.zeros(rows, *shape, dtype=torch.float64)
                    start = sum(rows_of(rows, ranks)[:rank])
                    whole[start : start + len(own)] = own
                    found[f"{key} {rows} {name}"] = all_reduce(whole) if ranks > 1 else whole
            for name, parameter in norm.named_parameters():
                assert parameter.grad is not None
                found[f"{key} {name}"] = all_reduce(parameter.grad) if ranks > 1 else parameter.grad
            found |= {f"{key} {name}": value for name, value in norm.state_dict().items() if name.startswith(("running", "num"))}
    half = nn.BatchNorm1d(3)
    if ranks > 1:
        sync_batchnorm(nn.Sequential(half), fabric.device, ranks)
    assert half(torch.ones(4, 3, dtype=torch.bfloat16).tensor_split(ranks)[rank]).dtype == torch.bfloat16
    return found


class Tenfold(nn.BatchNorm1d):
    """Ten times batch norm."""

    def forward(self, input: Tensor) -> Tensor:
        return 10 * super().forward(input)


def tenfold(fabric: Fabric) -> dict[str, Tensor]:
    model = nn.Sequential(Tenfold(3))
    if fabric.world_size > 1:
        sync_batchnorm(model, fabric.device, fabric.world_size)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    return {"output": model(x.tensor_split(fabric.world_size)[fabric.global_rank]).detach()}


def several(fabric: Fabric, *tasks: str) -> dict[str, Tensor]:
    """Many tasks, each `function argument argument …`, in one start of the processes, which takes longest."""
    found = {}
    for task in tasks:
        function, *arguments = task.split()
        found |= {f"{task}: {name}": value for name, value in globals()[function](fabric, *arguments).items()}
    return found
