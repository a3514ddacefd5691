"""Runs the laws of a component in order and words their breaches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from owae.interfaces import Component, Shape
from owae.registry.options import breach, canonical, options_model
from owae.testing import require
from owae.testing.require import seeded

SEED = 20201003


Tested = TypeVar("Tested")
Module = TypeVar("Module", bound=nn.Module)
AnyCase = TypeVar("AnyCase")


@dataclass(frozen=True)
class Case(Generic[Tested]):
    """What laws are tried on: a component, or a function that makes one, and events of one shape on one device."""

    component: Tested
    shape: Shape
    device: str

    def __post_init__(self) -> None:
        torch.empty(0, device=self.device)  # a device that has not been used could not be seeded

    def events(self, n: int, dtype: torch.dtype = torch.float32, *, shape: Shape | None = None) -> Tensor:
        """Draws `n` standard normal events, (n, *shape); of the case's own shape unless another is given."""
        return torch.randn(n, *(self.shape if shape is None else shape), device=self.device, dtype=dtype)


@dataclass(frozen=True)
class Made(Case[Callable[[], Module]], Generic[Module]):
    """A component that laws make anew, from a function of no arguments."""

    def made(self, *, seed: int = 0, training: bool = False) -> Module:
        with seeded(seed):
            return self.component().to(self.device).train(training)


Report = Callable[[str, str], None]
"""What is told of each law: the law, and what was found where it is broken, else nothing."""


def run(
    component: object,
    interface: type[Component],
    laws: Sequence[Callable[[AnyCase], None]],
    case: AnyCase,
    report: Report | None = None,
) -> None:
    """Puts a case to every law, each under the same seed; the first law, that of all components, to the component's class.

    Raises:
        AssertionError: The component does not implement the interface; or, unless `report` is told of it, the first breach: the component,
            the law (its docstring), what was found.
    """
    require.that(isinstance(component, interface), f"{component!r} is no {interface.__name__}")
    name = f"{type(component).__name__} '{getattr(component, 'name', '?')}'"
    checks = [(_registrable, type(component)), *((law, case) for law in laws)]
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
    require.that(not why, why)
    model = options_model(cls)
    if not any(field.is_required() for field in model.model_fields.values()):
        canonical(model())
