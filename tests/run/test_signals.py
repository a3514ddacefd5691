"""What a training does with signals while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from owae.run.signals import Interrupts


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_is_noted_and_its_handler_restored(number: int):
    signal.signal(number, signal.SIG_DFL)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert interrupts.received == number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_signal_that_is_ignored_at_the_start_stays_ignored(number: int):
    signal.signal(number, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_IGN
        assert interrupts.received is None
    assert signal.getsignal(number) == signal.SIG_IGN
