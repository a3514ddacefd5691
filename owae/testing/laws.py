"""What every check is made of: running laws in order, wording their breaches, and the few laws that all components share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from owae.interfaces import Component
from owae.registry.options import canonical, options_model

Case = TypeVar("Case")
Module = TypeVar("Module", bound=nn.Module)
SEED = 20201003
# Draws made within a law have another seed than its data: a prior's draws that were the data itself would hide much.
WITHIN = SEED + 1


def run(subject: object, laws: Sequence[Callable[[Case], None]], case: Case) -> None:
    """Put a case to every law, each under the same seed.

    Raises:
        AssertionError: The first breach: the subject, the law (its docstring), what was found.
    """
    name = f"{type(subject).__name__} '{getattr(subject, 'name', '?')}'"
    for law in laws:
        try:
            with seeded(SEED), torch.enable_grad():
                law(case)
        except AssertionError as error:
            raise AssertionError(f"{name} breaks a law: {inspect.getdoc(law)}\n  found: {error}") from error
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{name} breaks a law: {inspect.getdoc(law)}\n  found: it raised {message}") from error


@contextmanager
def seeded(seed: int = WITHIN) -> Iterator[None]:
    """A block under a seed, which leaves the random numbers after it as if it had not been."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
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
    require(value.shape == other.shape, f"{what}: shapes {tuple(value.shape)} and {tuple(other.shape)}")
    value, other = value.detach().double(), other.detach().double()
    off = (value - other).abs() - atol - rtol * other.abs()
    if not bool((off <= 0).all()):  # so that NaN is a difference too
        worst = int(off.nan_to_num(torch.inf).argmax())
        raise AssertionError(f"{what}: {value.flatten()[worst].item():.7g} against {other.flatten()[worst].item():.7g}")


def require_equal(what: str, value: Tensor, other: Tensor) -> None:
    require(value.shape == other.shape and bool(torch.equal(value, other)), f"{what}: the two differ")


def require_rows(what: str, value: Tensor, rows: int, dtype: torch.dtype) -> None:
    require(tuple(value.shape) == (rows,), f"{what} has shape {tuple(value.shape)}; it should be ({rows},), one number a row")
    require(value.dtype == dtype, f"{what} has dtype {value.dtype}; it should be {dtype}")


def gradients(value: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of a value's sum, None where nothing flows."""
    require(value.requires_grad, "the value has no gradient at all: it was detached, or computed without torch")
    return torch.autograd.grad(value.sum(), inputs, allow_unused=True)


def require_true_gradients(function: Callable[..., Tensor], *inputs: Tensor, rtol: float, step: float = 1e-5) -> None:
    """Compare the gradients with central differences along three random directions; the inputs are float64."""
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    with seeded():
        found = gradients(function(*inputs), *inputs)
    for _ in range(3):
        directions = [torch.randn_like(tensor) for tensor in inputs]
        values = []
        for sign in (1, -1):
            with seeded(), torch.no_grad():
                moved = [tensor + sign * step * direction for tensor, direction in zip(inputs, directions, strict=True)]
                values.append(function(*moved).sum().item())
        slope = (values[0] - values[1]) / (2 * step)
        told = sum((g * d).sum().item() for g, d in zip(found, directions, strict=True) if g is not None)
        scale = sum(g.norm().item() for g in found if g is not None)
        off = abs(told - slope)
        require(
            off <= rtol * max(scale, abs(slope)) + 1e-9, f"the gradient says a slope of {told:.6g}, differences say {slope:.6g}"
        )


def strided(x: Tensor) -> Tensor:
    """The same values in memory that is not contiguous."""
    return x.repeat_interleave(2, dim=-1)[..., ::2]


def require_schema(cls: type[Component]) -> None:
    """The class is concrete, has a name, and its options resolve with defaults that fit their annotations."""
    require(isinstance(getattr(cls, "name", None), str), f"{cls.__name__} has no `name`, the string a config writes after `kind =`")
    require(not inspect.isabstract(cls), f"{cls.__name__} leaves {', '.join(sorted(cls.__abstractmethods__))} unwritten")
    model = options_model(cls)
    if not any(field.is_required() for field in model.model_fields.values()):
        canonical(model())


def require_round_trip(module: nn.Module, other: nn.Module) -> None:
    """The state of one module is tensors alone, goes through safetensors without pickle, and fits another module."""
    state: dict[str, Any] = module.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    require(not odd, f"its state holds {', '.join(odd)}, which is no tensor and would need pickle to be saved")
    if state:
        other.load_state_dict(load(save({name: value.detach().clone().contiguous() for name, value in state.items()})))


def copied(module: Module) -> Module:
    """A deep copy: the stand-in for a second instance where only an instance is known."""
    return copy.deepcopy(module)
