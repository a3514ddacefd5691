"""What `owae bench divergences` finds to measure."""

from typing import Literal

import pytest

from owae.errors import ConfigError, PluginError
from owae.interfaces import Divergence
from owae.registry.registry import Entry, Registry
from owae_bench.cases import backends_of, cases


class Chosen(Divergence):
    name = "chosen"

    def __init__(self, *, backend: Literal["auto", "dense"] | None = None) -> None:
        super().__init__()

    def forward(self, x, y):
        return (x - y).square().mean()


class Unchosen(Chosen):
    name = "unchosen"

    def __init__(self, *, backend: str = "any") -> None:
        super().__init__()


def registry(*classes):
    made = Registry()
    made.entries += [Entry("divergence", cls.name, cls, "plugin", owner, "1") for cls, owner in classes]
    return made


def test_backends_are_those_of_a_literal_option():
    assert backends_of(Chosen) == ("auto", "dense")
    assert backends_of(Unchosen) == ()


def test_every_divergence_is_a_case_once_a_backend_and_owner():
    found = cases(registry((Chosen, "one"), (Unchosen, "one"), (Unchosen, "two")))
    assert [(case.name, case.backend, case.distribution) for case in found] == [
        ("chosen", "auto", "one"),
        ("chosen", "dense", "one"),
        ("unchosen", "", "one"),
        ("unchosen", "", "two"),
    ]
    assert all(case.reference == ({"backend": "dense"} if case.name == "chosen" else {}) for case in found)


def test_backends_asked_for_are_those_measured_where_there_is_a_choice():
    found = cases(registry((Chosen, "one"), (Unchosen, "one")), backends=["dense"])
    assert [case.label for case in found] == ["chosen backend=dense", "unchosen"]


def test_a_table_as_in_a_config_sets_options():
    (case,) = cases(registry((Chosen, "one")), ['{ kind = "chosen", backend = "auto" }'])
    assert (case.options, case.reference) == ({"backend": "auto"}, {"backend": "dense"})


@pytest.mark.parametrize(
    ("wanted", "backends", "error", "message"),
    [
        (["chozen"], [], PluginError, "did you mean 'chosen'"),
        ([], ["dence"], ConfigError, "did you mean 'dense'"),
        (['{ kind = "chosen", backnd = "auto" }'], [], ConfigError, "did you mean 'backend'"),
        (["{ kind = chosen }"], [], ConfigError, "TOML"),
        (['{ backend = "auto" }'], [], ConfigError, "kind"),
    ],
)
def test_what_does_not_exist_is_refused(wanted, backends, error, message):
    with pytest.raises(error, match=message):
        cases(registry((Chosen, "one")), wanted, backends)
