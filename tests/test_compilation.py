"""Compiled functions, and what serves where the compiler fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from owae import TrainingError
from owae.compilation import compiled


def double(x: Tensor) -> Tensor:
    return 2 * x


def refuse(x: Tensor) -> Tensor:
    raise KeyError("its own")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """torch.compile whose functions fail at every call; the list holds their options."""
    from torch._dynamo.exc import BackendCompilerFailed

    asked: list[Any] = []

    def broken(function: Any, **options: Any) -> Any:
        asked.append(options)

        def run(*_: Any) -> Any:
            raise BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler"), None)  # pyright: ignore[reportArgumentType]

        return run

    monkeypatch.setattr(torch, "compile", broken)
    return asked


def test_a_failure_is_said_once_and_the_plain_function_serves(no_compiler: list[Any], caplog: pytest.LogCaptureFixture):
    run = compiled(double, dynamic=True)
    assert not no_compiler  # nothing is compiled before it is called
    for _ in range(2):
        assert run(torch.ones(2)).tolist() == [2, 2]
    assert no_compiler == [{"dynamic": True}]
    (said,) = caplog.messages
    assert "double" in said
    assert "no C++ compiler" in said
    assert "going on without" in said


def test_a_failure_is_an_error_where_compiling_is_a_must(no_compiler: list[Any]):
    with pytest.raises(TrainingError, match=r"no C\+\+ compiler.*compile = false would work"):
        compiled(double, must=True)(torch.ones(2))


@pytest.mark.parametrize("must", [True, False])
def test_the_functions_own_error_is_raised(must: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    with pytest.raises(KeyError, match="its own"):
        compiled(refuse, must=must)(torch.ones(2))
    assert not caplog.messages
