"""Requirements that laws are made of, each an `AssertionError` that says what was found where it is not met."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from owae.interfaces import Shape
from owae.torch_state import generators_kept, seed_generators

# Draws made within a law have another seed than its data: a prior's draws that were the data itself would hide much.
WITHIN = 20201004

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def seeded(seed: int = WITHIN) -> Iterator[None]:
    """Runs the block under a seed, then puts torch's random numbers back."""
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        # Where no device was used, torch.manual_seed would note a whole stack of calls for later, at each of thousands of seeds.
        reach = torch.cuda.is_initialized() or torch.backends.mps.is_available()
        (torch.manual_seed if reach else torch.default_generator.manual_seed)(seed)
        yield


def that(condition: bool, found: str) -> None:
    """Requires that a condition holds."""
    if not condition:
        raise AssertionError(found)


def finite(what: str, *tensors: Tensor | None) -> None:
    for tensor in tensors:
        if tensor is None:
            raise AssertionError(f"{what} does not exist: nothing flows there")
        that(bool(torch.isfinite(tensor).all()), f"{what} holds NaN or infinity")


def close(what: str, value: Tensor, other: Tensor, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    value, other = value.detach().double(), other.detach().double()
    finite(what, value, other)
    torch.testing.assert_close(value, other, rtol=rtol, atol=atol, msg=lambda found: f"{what}: {found}")


def equal(what: str, value: Tensor, other: Tensor) -> None:
    close(what, value, other, rtol=0, atol=0)


def form(what: str, value: Tensor, shape: Shape, dtype: torch.dtype | None = None) -> None:
    """Requires a tensor of this shape and dtype, all finite."""
    that(tuple(value.shape) == tuple(shape), f"{what} has shape {tuple(value.shape)}; it should be {tuple(shape)}")
    that(dtype in (None, value.dtype), f"{what} has dtype {value.dtype}; it should be {dtype}")
    finite(what, value)


def gradients(value: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """Returns the gradients of a value's sum, None where nothing flows; requires that there are any."""
    that(value.requires_grad, "the value has no gradient at all: it was detached, or computed without torch")
    return torch.autograd.grad(value.sum(), inputs, allow_unused=True)


def true_gradients(function: Callable[..., Tensor], *inputs: Tensor, rtol: float) -> None:
    """Requires that gradients agree with central differences along three random directions; the inputs are float64."""
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    step = 1e-5
    function = seeded()(function)
    found = gradients(function(*inputs), *inputs)
    scale = sum(gradient.norm().item() for gradient in found if gradient is not None)
    for _ in range(3):
        directions = [torch.randn_like(tensor) for tensor in inputs]
        with torch.no_grad():
            ahead, behind = (
                function(*(tensor + sign * step * along for tensor, along in zip(inputs, directions, strict=True))).sum().item()
                for sign in (1, -1)
            )
        slope = (ahead - behind) / (2 * step)
        told = sum((g * d).sum().item() for g, d in zip(found, directions, strict=True) if g is not None)
        agrees = abs(told - slope) <= rtol * max(scale, abs(slope)) + 1e-9
        that(agrees, f"the gradient says a slope of {told:.6g}, differences say {slope:.6g}")


def unseeded(what: str, call: Callable[[], object]) -> None:
    """Requires that a call leaves the global generators unseeded: after another seed each is in another state."""
    found = []
    for seed in (WITHIN, WITHIN + 1):
        with seeded(seed), generators_kept():
            seed_generators(seed)
            call()
            numpys = np.random.get_state(legacy=False)
            found.append({"torch": torch.get_rng_state().tolist(), "numpy": str(numpys), "Python": random.getstate()})
    for whose, state in found[0].items():
        remedy = "draw without a seed, or from a generator of your own"
        that(state != found[1][whose], f"{what} reseeds {whose}'s global generator, and with it all later draws; {remedy}")


def neutral(what: str, call: Callable[..., Tensor], *inputs: Tensor, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """Requires that a call changes neither inputs nor the gradient mode, and depends on the inputs' values and torch's seed alone."""
    unseeded(what, lambda: call(*inputs))
    call = seeded()(call)
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    before = [tensor.detach().clone() for tensor in inputs]
    value = call(*inputs)
    that(torch.is_grad_enabled(), f"after {what}, gradients are switched off")
    with torch.no_grad():
        again = call(*inputs)
        that(not torch.is_grad_enabled(), f"after {what} inside no_grad, gradients are switched on")
    that(not again.requires_grad, f"{what}, computed inside no_grad, still carries a graph")
    for i, (tensor, old) in enumerate(zip(inputs, before, strict=True)):
        equal(f"input {i} of {what}, before and after", tensor, old)
    equal(f"{what} twice under one seed (nothing is kept between calls, randomness is torch's)", again, value)
    for layout in (strided, transposed):
        close(f"{what} of {layout.__name__} memory against contiguous", call(*map(layout, inputs)), value, rtol=rtol, atol=atol)


def strided(x: Tensor) -> Tensor:
    """The same values in memory that is not contiguous."""
    return x.repeat_interleave(2, dim=-1)[..., ::2]


def transposed(x: Tensor) -> Tensor:
    """The same values in dense memory, in another order."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def same_mean(what: str, one: Sequence[Tensor], other: Sequence[Tensor], *, rtol: float, errors: float) -> None:
    """Requires that the means of two sets of estimates agree, to `rtol` and within some standard errors of their difference."""
    first, second = torch.stack([*one]).detach().double(), torch.stack([*other]).detach().double()
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt().max().item()
    close(what, first.mean(0), second.mean(0), rtol=rtol, atol=errors * error + 1e-6)


def round_trip(module: Module, other: Module, value: Callable[[Module], Tensor]) -> None:
    """Requires that the state of a module is tensors alone and, through safetensors without pickle, gives another module its values."""
    state: dict[str, Any] = module.state_dict()
    odd = [name for name, entry in state.items() if not isinstance(entry, Tensor)]
    that(not odd, f"its state holds {', '.join(odd)}, which is no tensor and would need pickle to be saved")
    if state:
        other.load_state_dict(load(save({name: entry.detach().clone().contiguous() for name, entry in state.items()})))
    value = seeded()(value)
    equal("its value before and after a round trip", value(module), value(other))
