"""A registry takes what keeps the contract, sets down what does not, and never stops for it."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ConfigDict

from owae import Registry
from owae.errors import PluginError
from owae.hooks import hookimpl
from owae.interfaces import Component, Cost, Divergence
from owae.registry.options import canonical, options_model, validated


def plugin(*classes: Any) -> object:
    """A plugin that brings these classes."""

    class Plugin:
        @hookimpl
        def owae_components(self) -> list[Any]:
            return list(classes)

    return Plugin()


def divergence(name: str) -> type[Divergence]:
    return type("Made", (Divergence,), {"name": name, "forward": lambda self, x, y: x.sum() - y.sum()})


def failures(*plugins: object) -> str:
    registry = Registry()
    for i, one in enumerate(plugins):
        registry.register(one, name=f"p{i}", distribution=f"owae-p{i}", version="1")
    assert registry.names("cost") == ["euclidean", "squared-euclidean"]
    return "\n".join(f"{failure.distribution}: {failure.reason}" for failure in registry.failures)


def test_a_registry_starts_with_the_defaults() -> None:
    registry = Registry()
    assert {entry.distribution for entry in registry.entries} == {"owae"}
    assert registry.names("prior") == ["standard-normal"]
    assert not registry.failures


def test_a_component_without_a_constructor_has_no_options_after_a_compilation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    own = torch.nn.Module.__init__

    def replaced(self: Any, *args: Any, **kwargs: Any) -> None:
        """As torch.compile does for the process."""
        own(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "__init__", replaced)
    assert not options_model(divergence("flat")).model_fields


def test_a_component_is_had_by_name() -> None:
    registry = Registry()
    cls = divergence("flat")
    registry.register(plugin(cls), name="p")
    assert registry.get("divergence", "flat") is cls
    assert isinstance(registry.create("divergence", "flat"), cls)


def test_a_function_under_another_name_is_a_hook_too() -> None:
    cls = divergence("flat")

    class Plugin:
        @hookimpl(specname="owae_components")
        def bring(self) -> list[type]:
            return [cls]

    registry = Registry()
    registry.register(Plugin(), name="p")
    assert not registry.failures
    assert registry.get("divergence", "flat") is cls


class Misspelt:
    @hookimpl
    def owae_component(self) -> list[type]:
        return []


class Raises:
    @hookimpl
    def owae_components(self) -> list[type]:
        raise ZeroDivisionError("oh\n no")


class Exits:
    @hookimpl
    def owae_components(self) -> list[type]:
        raise SystemExit(3)


class Nothing:
    @hookimpl
    def owae_components(self) -> None:
        return None


class Demanding:
    @hookimpl
    def owae_components(self, config: object) -> list[type]:
        return []


class Nameless(Cost):
    def forward(self, x, y):
        return x


class Unwritten(Cost):
    name = "unwritten"


class Loose(Cost):
    name = "loose"

    def __init__(self, scale: float) -> None:
        super().__init__()

    def forward(self, x, y):
        return x


class Unresolved(Loose):
    name = "unresolved"

    def __init__(self, *, scale: Nowhere) -> None:  # pyright: ignore[reportUndefinedVariable]
        super().__init__(1.0)


class Kind(Loose):
    name = "kind"

    def __init__(self, *, kind: str) -> None:
        super().__init__(1.0)


class Homeless(Component):
    name = "homeless"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Misspelt(), ["unknown hook 'owae_component'", "did you mean 'owae_components'"]),
        (types.ModuleType("empty"), ["no hook"]),
        (Raises(), ["ZeroDivisionError: oh no"]),
        (Exits(), ["SystemExit: 3"]),
        (Nothing(), ["gave None; a list of classes would work"]),
        (Demanding(), ["does not fit", "config"]),
        (plugin(3), ["3 is not a subclass of LatentLayer"]),
        (plugin([]), ["[] is not a subclass"]),
        (plugin(int), ["not a subclass"]),
        (plugin(Homeless), ["not a subclass"]),
        (plugin(Nameless), ["Nameless has no `name`"]),
        (plugin(Unwritten), ["Unwritten leaves forward unwritten"]),
        (plugin(Loose), ["'scale'", "before a '/'"]),
        (plugin(Unresolved), ["Nowhere"]),
        (plugin(Kind), ["'kind'"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_plugin_is_set_down_with_its_reason(broken: object, words: list[str]) -> None:
    found = failures(broken, plugin(divergence("fine")))
    assert found.startswith("owae-p0: ")
    assert len(found.splitlines()) == 1
    for word in words:
        assert word in found


def test_the_other_classes_of_a_plugin_stay() -> None:
    registry = Registry()
    registry.register(plugin(Unwritten, divergence("fine")), name="p")
    assert registry.names("divergence") == ["fine"]
    assert len(registry.failures) == 1


def test_a_name_claimed_twice_is_an_error_that_names_both_when_it_is_used() -> None:
    registry = Registry()
    registry.register(plugin(divergence("flat"), divergence("own")), name="one", distribution="owae-one")
    registry.register(plugin(divergence("flat")), name="two", distribution="owae-two")
    assert list(registry.clashes()) == [("divergence", "flat")]
    with pytest.raises(PluginError, match=r"'owae-one' and 'owae-two'.*OWAE_PLUGINS"):
        registry.get("divergence", "flat")
    assert registry.get("divergence", "own")


def test_one_class_brought_twice_is_no_clash() -> None:
    registry, cls = Registry(), divergence("flat")
    registry.register(plugin(cls, cls), name="one", distribution="owae-one")
    registry.register(plugin(cls), name="two", distribution="owae-two")
    assert registry.get("divergence", "flat") is cls


def test_an_unknown_name_is_told_the_nearest_and_what_failed() -> None:
    registry = Registry()
    registry.register(Raises(), name="broken", distribution="owae-broken")
    with pytest.raises(PluginError, match=r"(?s)did you mean 'euclidean'.*owae-broken failed: .*ZeroDivisionError"):
        registry.get("cost", "euclidan")
    with pytest.raises(PluginError, match=r"'euclidean' is a cost"):
        registry.get("prior", "euclidean")


@pytest.mark.parametrize("only", [[], [""], [" "]])
def test_nothing_is_loaded_where_nothing_is_wanted(only: list[str]) -> None:
    assert {entry.distribution for entry in Registry.discover(only).entries} == {"owae"}


def test_a_wanted_plugin_that_is_not_installed_is_told() -> None:
    (failure,) = Registry.discover(["owae-nowhere"]).failures
    assert failure.plugin == "owae-nowhere"
    assert "not installed" in failure.reason


def test_the_environment_says_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWAE_PLUGINS", "owae_nowhere, ,")
    registry = Registry.discover()
    assert {entry.distribution for entry in registry.entries} == {"owae"}
    assert [failure.plugin for failure in registry.failures] == ["owae_nowhere"]


# Options


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 1


class Optional(Loose):
    name = "optional"

    def __init__(
        self, *, scale: float, inner: dict[str, list[Inner]] | None = None, dtype: torch.dtype = torch.float32, untyped="x"
    ) -> None:
        super().__init__(1.0)


def test_the_constructor_is_the_schema() -> None:
    fields = options_model(Optional).model_fields
    assert list(fields) == ["scale", "inner", "dtype", "untyped"]
    assert fields["scale"].is_required()
    assert not fields["inner"].is_required()
    assert not options_model(Nameless).model_fields


def test_what_a_file_can_say_reads_back() -> None:
    options, problems = validated(options_model(Optional), {"scale": 1, "inner": {"a": [{"width": 2}, {}]}})
    assert not problems
    assert options is not None
    again, values = canonical(options)
    assert values == {"scale": 1.0, "inner": {"a": [{"width": 2}, {"width": 1}]}, "untyped": "x"}
    assert again == options


def test_an_unknown_key_deep_down_is_told_the_nearest() -> None:
    _, problems = validated(options_model(Optional), {"scale": 1, "inner": {"a": [{}, {"wdth": 2}]}}, "cost")
    (problem,) = problems
    assert problem.place == "cost.inner.a[1].wdth"
    assert "did you mean 'width'?" in problem.message
