"""The laws of `Prior`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from owae.interfaces import Prior, Shape
from owae.testing import require
from owae.testing.laws import Made, Report, run
from owae.testing.require import seeded


def check_prior(
    prior: Callable[..., Prior], /, shape: Shape = (4,), *, device: str = "cpu", report: Report | None = None, **options: Any
) -> None:
    """Checks a prior (its class, or a function that makes an instance as that would) for events of `shape`; see `owae.testing`.

    Raises:
        AssertionError: It breaks a law.
    """
    case = Made(lambda: prior(tuple(shape), **options), tuple(shape), device)
    run(case.made(), Prior, LAWS, case, report)


def _shape(case: Made[Prior]) -> None:
    """Its shape is the one it was made with."""
    found = getattr(case.made(), "shape", None)
    require.that(found == case.shape, f"shape is {found}; it was made with {case.shape}")


def _draws(case: Made[Prior]) -> None:
    """Draws are (n, *shape), finite, in the dtype the module was moved to, each row and each call another."""
    for dtype in (torch.float32, torch.float64):
        prior = case.made().to(dtype)
        for n in (1, 7):
            first, second = prior.sample(n), prior.sample(n)
            require.form(f"sample({n})", first, (n, *case.shape), dtype)
            require.that(first.device == prior.anchor.device, f"moved to {case.device}, it draws on {first.device}")
            require.that(not torch.equal(first, second), "two calls give the same draws; they must be fresh")
            require.that(n == 1 or not torch.equal(first[0], first[1]), "all rows of a draw are the same")


def _gradients(case: Made[Prior]) -> None:
    """Draws are differentiable with respect to the parameters, if there are any."""
    prior = case.made()
    names = [name for name, parameter in prior.named_parameters() if parameter.requires_grad]
    if names:
        reached = require.gradients(prior.sample(16).square(), *(p for p in prior.parameters() if p.requires_grad))
        for name, gradient in zip(names, reached, strict=True):
            require.finite(f"the gradient of {name}", gradient)


def _seed(case: Made[Prior]) -> None:
    """Its randomness is torch's: one seed, one draw, and none is set; and a state without pickle makes another instance its equal."""
    prior = case.made()
    require.unseeded("sample(5)", lambda: prior.sample(5))
    with seeded():
        draw = prior.sample(5)
    with seeded():
        require.equal("two draws under one seed", prior.sample(5), draw)
    require.round_trip(prior, case.made(seed=1), lambda prior: prior.sample(5))


LAWS = (_shape, _draws, _gradients, _seed)
