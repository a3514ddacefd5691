"""What a component is made with and what it returns is checked by its name, whoever wrote it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import pytest
import torch
from toys import Affine, Bounded, Moments, Spread

from owae import Registry
from owae.component_checks import check_choices
from owae.errors import PluginError
from owae.interfaces import Component, DataSource, Divergence, Prior
from owae.model.stack import Level, Stack
from owae.registry.options import options_model
from owae.testing import check_cost, check_divergence, check_regulariser
from owae.training import fit

# Options from Python


class Choosy(Divergence):
    name = "choosy"

    def __init__(
        self,
        *,
        backend: Literal["auto", "geomloss"] = "auto",
        power: Literal[1, 2] = 2,
        scale: Literal["median"] | float | tuple[float, ...] = "median",
        root: Literal["square", "cubic"] | None = None,
        note: Literal["some"] | str = "some",
    ) -> None:
        super().__init__()

    forward = None  # pyright: ignore[reportAssignmentType]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "dense"}, "Choosy: backend is 'dense'; valid: auto, geomloss"),
        ({"backend": "geomlos"}, "did you mean 'geomloss'?"),
        ({"backend": None}, "backend is None"),
        ({"power": 3}, "power is 3; valid: 1, 2"),
        ({"power": True}, "power is True"),
        ({"scale": "medain"}, "scale is 'medain'; did you mean 'median'?"),
        ({"root": "squared"}, "root is 'squared'"),
        ({"root": 2}, "root is 2"),
    ],
)
def test_a_value_that_is_none_of_the_choices_is_refused(options: dict[str, Any], words: str) -> None:
    Choosy.__abstractmethods__ = frozenset()
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        Choosy(**options)


@pytest.mark.parametrize(
    "options", [{}, {"backend": "geomloss", "power": 1}, {"scale": 2}, {"scale": (1.0, 2)}, {"root": None}, {"note": "anything"}]
)
def test_a_value_that_is_a_choice_or_of_another_type_that_is_taken_passes(options: dict[str, Any]) -> None:
    check_choices(Choosy, (), options)


def choices() -> list[tuple[type[Component], str]]:
    """Every option of an installed component that takes nothing but values from a list."""
    return [
        (entry.cls, name)
        for entry in Registry.discover().entries
        for name, field in options_model(entry.cls).model_fields.items()
        if getattr(field.annotation, "__origin__", None) is Literal
    ]


@pytest.mark.parametrize(("cls", "option"), choices(), ids=lambda value: getattr(value, "__name__", value))
def test_every_installed_component_says_what_would_work(cls: type, option: str) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}: {option} is 'nothing of the kind'; .*valid: "):
        cls((1, 8, 8), **{option: "nothing of the kind"}) if cls.interface == "layer" else cls(**{option: "nothing of the kind"})


def test_the_engines_arguments_are_checked_too() -> None:
    class Split(DataSource):
        def __init__(self, split: Literal["train", "test"], /) -> None: ...

        __len__ = __getitem__ = None  # pyright: ignore[reportAssignmentType]

    with pytest.raises(ValueError, match="split is 'tran'; did you mean 'train'"):
        Split("tran")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        type("Bare", (DataSource,), {"__len__": len, "__getitem__": len})("train")


# What is returned


class HasWay:
    """A component that returns something else than it should, in one of several ways."""

    name = "returns"

    def __init__(self, *, way: str) -> None:
        super().__init__()
        self.way = way


class Returns(HasWay, Moments):
    def forward(self, x: Any, y: Any) -> Any:
        value = super().forward(x, y)
        made = {"float": value.item(), "vector": value[None], "detached": value.detach(), "tuple": (value, {})}
        return {**made, "complex": value + 0j}[self.way]


class ReturnsToPrior(Returns):
    def forward(self, x: Any, y: Any) -> Any:
        return Moments.forward(self, x, y)

    def to_prior(self, x: Any, prior: Any) -> Any:
        return Returns.forward(self, x, prior.sample(len(x)))


class OfRows(HasWay):
    def spoil(self, value: Any) -> Any:
        return {"float": value.mean().item(), "scalar": value.mean(), "column": value[:, None], "detached": value.detach()}[
            self.way
        ]


class CostReturns(OfRows, Bounded):
    def forward(self, x: Any, y: Any) -> Any:
        return self.spoil(super().forward(x, y))


class ExpectedReturns(CostReturns):
    def forward(self, x: Any, y: Any) -> Any:
        return Bounded.forward(self, x, y)

    def expected(self, x: Any, p: Any) -> Any:
        return self.spoil(self(x, p.mean))


class PenaltyReturns(OfRows, Spread):
    def forward(self, q: Any) -> Any:
        return self.spoil(super().forward(q))


def stack(**parts: Any) -> Stack:
    torch.manual_seed(0)
    divergence = parts.pop("divergence", Moments())
    return Stack([Level(Affine((4,), latent=2), **parts)], divergence=divergence, weights=[0.5])


PARTS = [
    *(("divergence", cls, way) for cls in (Returns, ReturnsToPrior) for way in ("float", "vector", "detached", "tuple", "complex")),
    *(("cost", cls, way) for cls in (CostReturns, ExpectedReturns) for way in ("float", "scalar", "column", "detached")),
    *(("regulariser", PenaltyReturns, way) for way in ("float", "scalar", "column", "detached")),
]
FOUND = {
    "float": "a float",
    "tuple": "a tuple",
    "complex": "a tensor of complex",
    "vector": r"of shape \(1,\)",
    "scalar": r"of shape \(\)",
    "column": r"of shape \(8, 1\)",
    "detached": "without a gradient",
}


@pytest.mark.parametrize(("part", "cls", "way"), PARTS)
def test_what_a_component_must_not_return_is_refused_by_its_name(part: str, cls: Any, way: str) -> None:
    with pytest.raises(PluginError, match=f"{part} 'returns' returns .*{FOUND[way]}.*it should return a tensor"):
        next(iter(fit(stack(**{part: cls(way=way)}), torch.rand(8, 4), epochs=1, batch_size=8)))


@pytest.mark.parametrize(("part", "cls", "way"), PARTS)
def test_the_laws_refuse_it_too(part: str, cls: Any, way: str) -> None:
    check = {"divergence": check_divergence, "cost": check_cost, "regulariser": check_regulariser}[part]
    with pytest.raises(AssertionError, match=f"{cls.__name__} 'returns' breaks a law"):
        check(cls(way=way))


def meddling(base: type, method: str, way: str) -> Any:
    """A component like `base` that, when called, seeds torch's generator or writes into what it is given."""

    def meddle(self: Any, given: Any, *others: Any) -> Any:
        if way == "seeds":
            torch.manual_seed(3)
        else:
            tensor = given if isinstance(given, torch.Tensor) else given.mean
            with torch.no_grad():
                tensor.mul_(0.5)
        return getattr(base, method)(self, given, *others)

    return type("Meddling", (base,), {"name": "meddling", method: meddle})


class Drawn(Prior):
    name = "drawn"

    def sample(self, n: int) -> Any:
        return torch.randn(n, *self.shape)


@pytest.mark.parametrize("way", ["seeds", "writes"])
@pytest.mark.parametrize(
    ("part", "base", "method"),
    [
        *(("divergence", Moments, method) for method in ("forward", "to_prior")),
        *(("cost", Bounded, method) for method in ("forward", "expected")),
        ("regulariser", Spread, "forward"),
        *(("layer", Affine, method) for method in ("encode", "decode")),
        ("prior", Drawn, "sample"),
    ],
)
def test_a_component_that_meddles_is_refused_by_its_name_at_the_first_step(part: str, base: type, method: str, way: str) -> None:
    if (part, way) == ("prior", "writes"):
        pytest.skip("it is given nothing to write into")
    made = meddling(base, method, way)
    layer = made((4,), latent=2) if part == "layer" else Affine((4,), latent=2)
    parts = {part: made()} if part in ("cost", "regulariser") else {}
    whole = {"divergence": made() if part == "divergence" else Moments(), "prior": made((2,)) if part == "prior" else None}
    trained = Stack([Level(layer, **parts)], weights=[0.5], **whole)
    torch.manual_seed(3)  # the number that it takes, too
    with pytest.raises(PluginError, match=f"{part} 'meddling' {way}"):
        next(iter(fit(trained, torch.rand(8, 4), epochs=1, batch_size=8)))


def test_no_gradient_is_asked_for_where_there_is_none_to_give() -> None:
    with torch.no_grad():
        stack(divergence=Returns(way="detached"))(torch.rand(8, 4))
    Returns(way="detached")(torch.rand(8, 4), torch.rand(8, 4))
    deterministic = stack(regulariser=Spread())
    vars(deterministic.layers[0])["noise"] = False  # the variance is 0, whatever the parameters
    deterministic(torch.rand(8, 4)).loss.backward()


COMPILED = """
import torch, owae

class Flat(owae.Cost):
    name = "flat"

    def forward(self, x, y):
        return (x - y).flatten(1).sum(1)

compiled = torch.compile(Flat(), fullgraph=True, backend="eager")
x = torch.rand(4, 3, requires_grad=True)
assert torch.equal(compiled(x, torch.zeros(4, 3)), x.sum(1))
"""


@pytest.mark.slow
def test_a_compiled_graph_is_not_broken_by_the_checks() -> None:
    # In a process of its own: the run-time type checker of the tests breaks graphs.
    ran = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr
