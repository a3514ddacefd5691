"""What every check is made of: running laws in order, wording their breaches, and the few laws that all components share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from owae.interfaces import Component, Shape
from owae.registry.options import breach, canonical, options_model

SEED = 20201003
# Draws made within a law have another seed than its data: a prior's draws that were the data itself would hide much.
WITHIN = SEED + 1

Subject = TypeVar("Subject")
Module = TypeVar("Module", bound=nn.Module)
AnyCase = TypeVar("AnyCase")


@dataclass(frozen=True)
class Case(Generic[Subject]):
    """What laws are tried on: a component, or a function that makes one, and events of one shape on one device."""

    subject: Subject
    shape: Shape
    device: str

    def __post_init__(self) -> None:
        torch.empty(0, device=self.device)  # a device that has not been used could not be seeded

    def events(self, n: int, dtype: torch.dtype = torch.float32, *, shape: Shape | None = None) -> Tensor:
        """`n` standard normal events, (n, *shape); of the case's own shape unless another is given."""
        return torch.randn(n, *(self.shape if shape is None else shape), device=self.device, dtype=dtype)


@dataclass(frozen=True)
class Made(Case[Callable[[], Module]], Generic[Module]):
    """A component that laws make anew, from a function of no arguments."""

    def made(self, *, seed: int = 0, training: bool = False) -> Module:
        with seeded(seed):
            return self.subject().to(self.device).train(training)


Report = Callable[[str, str], None]
"""What is told of each law: the law, and what was found where it is broken, else nothing."""


def run(
    subject: object,
    interface: type[Component],
    laws: Sequence[Callable[[AnyCase], None]],
    case: AnyCase,
    report: Report | None = None,
) -> None:
    """Put a case to every law, each under the same seed; the first law, that of all components, to the subject's class.

    Args:
        report: What to tell of every law, kept or broken, in place of raising the first breach.

    Raises:
        AssertionError: The subject does not implement the interface; or the first breach: the subject, the law (its docstring),
            what was found.
    """
    require(isinstance(subject, interface), f"{subject!r} is no {interface.__name__}")
    name = f"{type(subject).__name__} '{getattr(subject, 'name', '?')}'"
    checks = [(_registrable, type(subject)), *((law, case) for law in laws)]
    for law, tried in checks:
        try:
            with seeded(SEED), torch.enable_grad():
                law(tried)
        except Exception as error:
            found = str(error) if isinstance(error, AssertionError) else f"it raised {type(error).__name__}: {error}"
            if report is None:
                raise AssertionError(f"{name} breaks a law: {inspect.getdoc(law)}\n  found: {found}") from error
        else:
            found = ""
        if report is not None:
            report(inspect.getdoc(law) or "", found)


def _registrable(cls: Any) -> None:
    """Its class can be registered: a name, keyword-only options that resolve, defaults that fit them."""
    why = breach(cls)
    require(not why, why)
    model = options_model(cls)
    if not any(field.is_required() for field in model.model_fields.values()):
        canonical(model())


@contextmanager
def seeded(seed: int = WITHIN) -> Iterator[None]:
    """Runs the block under a seed and leaves the random numbers after it as if it had not been."""
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        # Where no device was used, torch.manual_seed would note a whole stack of calls for later, at each of thousands of seeds.
        reach = torch.cuda.is_initialized() or torch.backends.mps.is_available()
        (torch.manual_seed if reach else torch.default_generator.manual_seed)(seed)
        yield


def require(condition: bool, found: str) -> None:
    """Raise an `AssertionError` that says what was found, unless the condition holds."""
    if not condition:
        raise AssertionError(found)


def require_finite(what: str, *tensors: Tensor | None) -> None:
    for tensor in tensors:
        require(tensor is not None, f"{what} does not exist: nothing flows there")
        assert tensor is not None
        require(bool(torch.isfinite(tensor).all()), f"{what} holds NaN or infinity")


def require_close(what: str, value: Tensor, other: Tensor, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    value, other = value.detach().double(), other.detach().double()
    torch.testing.assert_close(value, other, rtol=rtol, atol=atol, msg=lambda found: f"{what}: {found}")


def require_equal(what: str, value: Tensor, other: Tensor) -> None:
    require_close(what, value, other, rtol=0, atol=0)


def require_form(what: str, value: Tensor, shape: Shape, dtype: torch.dtype | None = None) -> None:
    """A tensor of this shape and dtype, all finite."""
    require(tuple(value.shape) == tuple(shape), f"{what} has shape {tuple(value.shape)}; it should be {tuple(shape)}")
    require(dtype in (None, value.dtype), f"{what} has dtype {value.dtype}; it should be {dtype}")
    require_finite(what, value)


def gradients(value: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of a value's sum, None where nothing flows."""
    require(value.requires_grad, "the value has no gradient at all: it was detached, or computed without torch")
    return torch.autograd.grad(value.sum(), inputs, allow_unused=True)


def require_true_gradients(function: Callable[..., Tensor], *inputs: Tensor, rtol: float, step: float = 1e-5) -> None:
    """Compare the gradients with central differences along three random directions; the inputs are float64."""
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
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
        close = abs(told - slope) <= rtol * max(scale, abs(slope)) + 1e-9
        require(close, f"the gradient says a slope of {told:.6g}, differences say {slope:.6g}")


def require_unseeded(what: str, call: Callable[[], object]) -> None:
    """A call leaves torch's global generator unseeded: after another seed it is in another state."""
    states = []
    for seed in (WITHIN, WITHIN + 1):
        with seeded(seed):
            call()
            states.append(torch.get_rng_state())
    found = f"{what} reseeds torch's global generator, and with it all later draws; draw without a seed, or from a torch.Generator"
    require(not torch.equal(*states), found)


def require_neutral(what: str, call: Callable[..., Tensor], *inputs: Tensor, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """A call changes neither its inputs nor the gradient mode, and depends on the inputs' values and torch's seed alone."""
    require_unseeded(what, lambda: call(*inputs))
    call = seeded()(call)
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    before = [tensor.detach().clone() for tensor in inputs]
    value = call(*inputs)
    require(torch.is_grad_enabled(), f"after {what}, gradients are switched off")
    with torch.no_grad():
        again = call(*inputs)
        require(not torch.is_grad_enabled(), f"after {what} inside no_grad, gradients are switched on")
    require(not again.requires_grad, f"{what}, computed inside no_grad, still carries a graph")
    for i, (tensor, old) in enumerate(zip(inputs, before, strict=True)):
        require_equal(f"input {i} of {what}, before and after", tensor, old)
    require_equal(f"{what} twice under one seed", again, value)
    for layout in (strided, transposed):
        require_close(
            f"{what} of {layout.__name__} memory against contiguous", call(*map(layout, inputs)), value, rtol=rtol, atol=atol
        )


def strided(x: Tensor) -> Tensor:
    """The same values in memory that is not contiguous."""
    return x.repeat_interleave(2, dim=-1)[..., ::2]


def transposed(x: Tensor) -> Tensor:
    """The same values in dense memory, in another order."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def require_same_mean(what: str, one: Sequence[Tensor], other: Sequence[Tensor], *, rtol: float, errors: float) -> None:
    """The means of two sets of estimates agree, to `rtol` and within some standard errors of their difference."""
    first, second = torch.stack([*one]).detach().double(), torch.stack([*other]).detach().double()
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt().max().item()
    require_close(what, first.mean(0), second.mean(0), rtol=rtol, atol=errors * error + 1e-6)


def require_round_trip(module: Module, other: Module, value: Callable[[Module], Tensor]) -> None:
    """The state of one module is tensors alone, goes through safetensors without pickle, and gives another module its values."""
    state: dict[str, Any] = module.state_dict()
    odd = [name for name, entry in state.items() if not isinstance(entry, Tensor)]
    require(not odd, f"its state holds {', '.join(odd)}, which is no tensor and would need pickle to be saved")
    if state:
        other.load_state_dict(load(save({name: entry.detach().clone().contiguous() for name, entry in state.items()})))
    value = seeded()(value)
    require_equal("its value before and after a round trip", value(module), value(other))
